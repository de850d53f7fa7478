"""The gauge pages and rows of one boot while it runs: one file per process that serves, taken together."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.rows import Gauge, HeaderField, LivePage, NotBegun, RowFile, RowFileError, read_rows
from harness.rowscan import left_in
from harness.rundir import RunDir

__all__ = ["BootPages", "unfinished", "waiting_and_running"]

_MOST_READINGS = 5
_STOPPING = 1
"""Number of the setting (docs/rows.md)."""
_DEAD_STATES = {"Z", "X", "x"}


class BootPages:
    """Everything that the processes of one boot have published so far. Stays readable after they died."""

    def __init__(self, rundir: RunDir, boot: int) -> None:
        self._rundir = rundir
        self._boot = boot
        self._pages: dict[Path, LivePage] = {}

    def refresh(self) -> None:
        """Looks for processes that have begun to write since."""
        for path in self._rundir.task_files(self._boot):
            if path not in self._pages:
                try:
                    self._pages[path] = LivePage(path)
                except (OSError, RowFileError):
                    # Its writer is still filling in the header.
                    continue

    @property
    def any(self) -> bool:
        """Whether any process has begun to write."""
        return bool(self._pages)

    def total(self, gauge: Gauge) -> int:
        """The sum over all processes of the boot, also those that have died: for what is counted."""
        return sum(page.gauge(gauge) for page in self._pages.values())

    def now(self, gauge: Gauge) -> int:
        """The sum over the processes that live: for what there is of something at a time."""
        return sum(page.gauge(gauge) for page in self._living())

    def ready_ns(self, processes: int) -> int | None:
        """When so many processes were ready; None before."""
        ready = sorted(ns for page in self._pages.values() if (ns := page.gauge(Gauge.READY)))
        return ready[processes - 1] if len(ready) >= processes else None

    def loop_lag_ns(self, now_ns: int) -> int:
        """How late the next beat of the latest of the event loops already is.

        One that has ended is not late: its process closes its account, and lives on until the interpreter has ended too.
        """
        late = (
            now_ns - beat - page.gauge(Gauge.LOOP_BEAT_PERIOD)
            for page in self._living()
            if (beat := page.gauge(Gauge.LOOP_BEAT)) and not page.field(HeaderField.CLOSED)
        )
        return max((0, *late))

    def dead_pids(self) -> list[int]:
        """Writers that have died without closing their file."""
        return [pid for page in self._pages.values() if not page.field(HeaderField.CLOSED) and not _is_alive(pid := _pid(page))]

    def living(self) -> dict[int, LivePage]:
        """The pages of the processes that live, by pid."""
        return {_pid(page): page for page in self._living()}

    def announce_stop(self, pid: int | None = None) -> None:
        """Tells the processes that live, or that one, that they will be asked to end: what is cancelled then goes with them."""
        self.refresh()
        for each, page in self.living().items():
            if pid in {None, each}:
                page.set(_STOPPING, time.monotonic_ns())

    def pending(self) -> int:
        """Tasks of living processes that have not ended; of the dead ones nothing will end any more."""
        return sum(self._pending_of(page) for page in self._living())

    def close(self) -> None:
        """Unmaps all pages."""
        for page in self._pages.values():
            page.close()
        self._pages.clear()

    def _living(self) -> list[LivePage]:
        return [page for page in self._pages.values() if _is_alive(_pid(page))]

    def _pending_of(self, page: LivePage) -> int:
        if accepted := page.gauge(Gauge.ACCEPTED):
            return max(0, accepted - sum(page.gauge(gauge) for gauge in (Gauge.FINISHED, Gauge.FAILED, Gauge.DROPPED)))
        return sum(unfinished([page.path]))


def waiting_and_running(count: Callable[[Gauge], int]) -> tuple[int, int]:
    """Tasks that wait and tasks that run, by what is counted.

    One that was dropped does neither any more, e.g., one that Starlette skips because an earlier one raised. The counts go on
    while they are read, one after the other, so they are read until nothing began meanwhile: whoever loses the processor between
    two of them would see a backlog that never was. If something always does, either may be off, and is never below 0.
    """
    begun = count(Gauge.ACCEPTED), count(Gauge.STARTED)
    for _ in range(_MOST_READINGS):
        ended, dropped = count(Gauge.FINISHED) + count(Gauge.FAILED), count(Gauge.DROPPED)
        before, begun = begun, (count(Gauge.ACCEPTED), count(Gauge.STARTED))
        if before == begun:
            break
    accepted, started = before
    pending = max(0, accepted - ended - dropped)
    running = min(pending, max(0, started - ended))
    return pending - running, running


def unfinished(paths: list[Path]) -> tuple[int, int]:
    """Tasks in these files that were accepted and not started, and that were started and have not ended.

    Raises OSError or RowFileError if one cannot be read.
    """
    return left_in(_begun(paths))


def _begun(paths: list[Path]) -> Iterator[RowFile]:
    for path in paths:
        with contextlib.suppress(NotBegun):
            yield read_rows(path)


def _pid(page: LivePage) -> int:
    return page.field(HeaderField.PID)


def _is_alive(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in _DEAD_STATES
