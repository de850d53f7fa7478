"""What a world leaves behind: some hundred megabytes of files that nobody looks at once they have been checked."""

from __future__ import annotations

import contextlib
import shutil
from typing import Final

from harness.rundir import EventLog, RunDir
from harness.runs import size_on_disk
from harness.schema import Summary

__all__ = ["MOST_BYTES", "tidy_world"]

MOST_BYTES: Final = 10_000_000
"""What takes less is kept: small databases and logs are worth a look."""


def tidy_world(rundir: RunDir, summary: Summary) -> int:
    """Removes the world's files if there are many, and says how many bytes that were. Where the run is in doubt they are kept."""
    if summary.verdict == "INCONCLUSIVE" or rundir.world.is_symlink() or not rundir.world.is_dir():
        return 0
    size = size_on_disk(rundir.world)
    if size <= MOST_BYTES:
        return 0
    with contextlib.suppress(OSError):
        shutil.rmtree(rundir.world)
    left = size_on_disk(rundir.world) if rundir.world.exists() else 0
    log = EventLog(rundir.events)
    log.write("world_removed", bytes=size - left)
    log.close()
    return size - left
