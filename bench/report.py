"""report: ten million rows of a made run, judged and written as a page by a fresh process; its time and its memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.duel import Settings
from bench.instrument import Workshop
from bench.made import make_run
from bench.table import Finding, figure, title
from harness.errors import RunError

NAME = "report"
N_ROWS = 10_000_000
N_QUICK = 300_000
TARGET_S, TARGET_MIB = 5.0, 1024.0
# The peak as the kernel has it for this program: that of rusage would begin with what the bench itself had at the start of it.
_PROGRAM = """
import atexit, sys
from pathlib import Path
from harness.commands.main import main
atexit.register(lambda: sys.stderr.write(Path("/proc/self/status").read_text()))
main(["report", sys.argv[1]])
"""


def run(workshop: Workshop, settings: Settings, results: dict[str, Any]) -> Iterator[str]:
    del workshop  # nobody is served here
    wanted = N_QUICK if settings.rounds == 1 else N_ROWS
    yield title(f"report: a run of {wanted:,} rows, judged and written as a page")
    with tempfile.TemporaryDirectory(prefix="afterload-bench-") as folder:
        settings.log(f"making a run of {wanted:,} rows")
        path = make_run(Path(folder) / "made", wanted).path
        measured = [_report(path) for _ in range(settings.rounds)]
        size = (path / "report.html").stat().st_size
    wall, cpu, peak = (statistics.median(values) for values in zip(*measured, strict=True))
    most = max(each[2] for each in measured)
    yield f"  {figure(wall)} s (median), {figure(cpu)} s of a processor, at most {most:,.0f} MiB;"
    yield f"  the page has {size / 1024:,.0f} KiB"
    yield f"  target: <= {TARGET_S:g} s and <= {TARGET_MIB:,.0f} MiB for {N_ROWS:,} rows"
    results |= {"rows": wanted, "measured": measured, "page_bytes": size}
    if wanted == N_ROWS:
        met = wall <= TARGET_S and most <= TARGET_MIB
        target = f"<= {TARGET_S:g} s, <= {TARGET_MIB:,.0f} MiB"
        results["findings"] += [
            Finding(
                f"report of {wanted:,} rows",
                f"{peak:,.0f} MiB at most",
                f"{figure(wall)} s",
                figure(wall / TARGET_S),
                target,
                met,
            )
        ]


def _report(path: Path) -> tuple[float, float, float]:
    """Wall time in s, processor time in s, peak resident size in MiB of one `afterload report`."""
    began = time.perf_counter()
    with (path.parent / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", _PROGRAM, str(path)], stdout=subprocess.DEVNULL, stderr=log)
        # Not of all children: others of the bench took more.
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    said = (path.parent / "log").read_text()
    if process.returncode != 0:
        raise RunError(f"afterload report ended with {process.returncode}: {said[-2000:]}")
    return wall, used.ru_utime + used.ru_stime, int(said.split("VmHWM:")[1].split()[0]) / 1024
