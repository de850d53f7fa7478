"""following: what it takes to watch a run for long. A run that is over grows again, faster than it did, under a follower.

`python -m bench.following DIR` writes the run in DIR again as it stood at each moment, step by step. After each step a process of
its own reads what is new and makes the picture that a screen would show. Told is what memory that takes, and what time.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import click
import numpy as np
from numpy.typing import NDArray

from harness.live import history as of_history
from harness.live.allocating import give_back_at_once
from harness.live.frame import Look
from harness.live.history import BEHIND_NS, History
from harness.rows import Kind, read_rows
from harness.rows.layout import HEADER_BYTES, HeaderField
from harness.rundir import RunDir

_BEGINNINGS: Final = {
    Kind.REQUESTS: "sent_ns",
    Kind.TASKS: "accepted_ns",
    Kind.EFFECTS: "arrived_ns",
    Kind.GAUGES: "t_ns",
    Kind.MACHINE: "t_ns",
}
_INSTANTS: Final = {
    Kind.REQUESTS: ("done_ns",),
    Kind.TASKS: ("flushed_ns", "started_ns", "finished_ns", "failed_ns", "dropped_ns"),
}
_WITH: Final = {"done_ns": "outcome", "dropped_ns": "reason"}
_WINDOW_S: Final = 60.0


class GrowingFile:
    """A row file that grows again."""

    def __init__(self, source: Path, folder: Path) -> None:
        self._file = read_rows(source)
        self._rows = np.array(self._file.rows)
        begin = self._rows[_BEGINNINGS[self._file.kind]].astype(np.int64)
        if self._file.kind is Kind.REQUESTS:
            # Those that were never sent.
            begin = np.where(begin == 0, self._rows["due_ns"].astype(np.int64), begin)
        instants = [self._rows[name].astype(np.int64) for name in _INSTANTS.get(self._file.kind, ())]
        self._begin, self._last = begin, np.maximum.reduce([begin, *instants])
        self._so_far = np.maximum.accumulate(begin)
        self._header = bytearray(source.read_bytes()[:HEADER_BYTES])
        self._path = folder / source.name
        self._fd = -1
        self._told_ns = -1

    def until(self, at_ns: int) -> None:
        """As it stood then, which is later than the last time."""
        if self._file.created_ns > at_ns:
            return
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT)
        changed = np.flatnonzero((self._begin <= at_ns) & (self._last > self._told_ns))
        if len(changed):
            first, end = int(changed[0]), int(changed[-1]) + 1
            os.pwrite(self._fd, self._as_at(first, end, at_ns).tobytes(), HEADER_BYTES + first * self._rows.dtype.itemsize)
        claimed = int(np.searchsorted(self._so_far, at_ns, side="right"))
        closed_ns = self._file.closed_ns if self._file.closed_ns <= at_ns else 0
        for offset, value in ((HeaderField.CLAIMED, claimed), (HeaderField.CLOSED, closed_ns)):
            self._header[offset : offset + 8] = value.to_bytes(8, "little")
        os.pwrite(self._fd, bytes(self._header), 0)
        self._told_ns = at_ns

    def _as_at(self, first: int, end: int, at_ns: int) -> NDArray[np.void]:
        rows = self._rows[first:end].copy()
        rows[self._begin[first:end] > at_ns] = 0
        for name in _INSTANTS.get(self._file.kind, ()):
            late = rows[name] > at_ns
            rows[name][late] = 0
            if name in _WITH:
                rows[_WITH[name]][late] = 0
        return rows


class GrowingRun:
    """A run directory that grows again, held by this process as it was by its session."""

    def __init__(self, source: Path, folder: Path) -> None:
        """`folder`: empty."""
        self._files = [GrowingFile(file, folder) for file in sorted(source.glob("*.rows"))]
        for name in ("environment.json", "plan.toml", "scenario.json"):
            shutil.copy(source / name, folder / name)
        lines = (source / "events.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        self._events = [(json.loads(line)["t_ns"], line) for line in lines if json.loads(line)["event"] != "end"]
        self._n_told = 0
        self._log = folder / "events.jsonl"
        self._held = RunDir(folder).claimed()

    @property
    def begin_ns(self) -> int:
        return int(self._events[0][0])

    @property
    def end_ns(self) -> int:
        return int(self._events[-1][0])

    def until(self, at_ns: int) -> None:
        """As it stood then, which is later than the last time."""
        new = [line for told_ns, line in self._events[self._n_told :] if told_ns <= at_ns]
        self._n_told += len(new)
        with self._log.open("a", encoding="utf-8") as log:
            log.write("".join(new))
        for file in self._files:
            file.until(at_ns)


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--step", "step_s", type=click.FloatRange(0.1), default=2.0, show_default=True, help="Between two pictures, in s of the run."
)
@click.option(
    "--every", "every_s", type=click.FloatRange(1), default=300.0, show_default=True, help="Between two lines, in s of the run."
)
@click.option("--child", "is_child", is_flag=True, hidden=True)
def main(*, path: Path, step_s: float, every_s: float, is_child: bool) -> None:
    """Memory and processor time of following the run in PATH, from its beginning to its end."""
    if is_child:
        _follow(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        _grow(path, Path(folder), step_s, every_s)


def _grow(source: Path, folder: Path, step_s: float, every_s: float) -> None:
    run = GrowingRun(source, folder)
    command = [sys.executable, "-m", "bench.following", "--child", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        print("      s  rows read    MiB  most  s of processor")
        step_ns, next_s = round(step_s * 1e9), every_s
        for at_ns in range(run.begin_ns + step_ns, run.end_ns + 1, step_ns):
            run.until(at_ns)
            child.stdin.write(f"{at_ns}\n")
            child.stdin.flush()
            said = child.stdout.readline()
            if not said:
                raise click.ClickException("the follower ended")
            passed_s = (at_ns - run.begin_ns) / 1e9
            if passed_s >= next_s or at_ns + step_ns > run.end_ns:
                n_rows, rss, most, used_s = json.loads(said)
                print(f"{passed_s:7.0f}{n_rows:11,}{rss:7.1f}{most:6.0f}{used_s:8.1f}", flush=True)
                next_s += every_s
        child.stdin.close()


class Clock:
    """The time that the run is told it is."""

    thread_time_ns = staticmethod(time.thread_time_ns)

    def __init__(self) -> None:
        self.now_ns = 0

    def monotonic_ns(self) -> int:
        return self.now_ns


def _follow(path: Path) -> None:
    give_back_at_once()
    clock = Clock()
    of_history.time = clock  # type: ignore[attr-defined]
    history, look = History(path), Look(0.0, _WINDOW_S, 0.5)
    for line in sys.stdin:
        clock.now_ns = int(line) + BEHIND_NS
        history.refresh()
        frame = history.frame(look)
        look = Look(max(frame.newest_s - _WINDOW_S, 0.0), max(frame.newest_s, _WINDOW_S), 0.5)
        words = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
        rss, most = (int(words[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
        print(json.dumps([frame.totals.attempted + frame.totals.accepted, rss, most, time.process_time()]), flush=True)
    history.close()


if __name__ == "__main__":
    main(prog_name="python -m bench.following")
