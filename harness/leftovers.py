"""What a run leaves behind and nobody looks at: the world's files once they were checked, room for rows that never came."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import Final

import psutil

from harness.rows import RowFileError, read_rows, trim
from harness.rundir import EventLog, RunDir
from harness.runs import size_on_disk
from harness.schema import Summary

__all__ = ["MOST_BYTES", "tidy_rows", "tidy_world"]

MOST_BYTES: Final = 10_000_000
"""What takes less is kept: small databases and logs are worth a look."""


def tidy_rows(rundir: RunDir) -> int:
    """Gives back the room that the writers, who have ended, had taken ahead of their rows. Returns the bytes."""
    freed = 0
    for path in sorted(rundir.path.glob("*.rows")):
        # What cannot be read is a problem that the account names; what still runs may still write.
        with contextlib.suppress(OSError, RowFileError):
            writer = read_rows(path).pid
            if writer == os.getpid() or not psutil.pid_exists(writer):
                freed += trim(path)
    return freed


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
