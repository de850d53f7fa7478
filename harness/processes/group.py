"""Whole groups of processes: who belongs to one, freezing it, killing it, and proving that nobody is left.

Three things tell who belongs to a child: its process group, which is a session of its own; an environment variable that every
process of the run inherits; and descent. A process that left the group and cleared its environment is still a descendant, and
one whose parent has ended becomes ours and not init's, because the session is a subreaper (prctl(2), PR_SET_CHILD_SUBREAPER).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil

from harness.model import SurvivingProcess

__all__ = [
    "MARK",
    "STARTED",
    "adopt_orphans",
    "alive",
    "freeze",
    "is_stopped",
    "kill_all",
    "snapshot",
    "survivors",
    "thaw",
]

MARK = "AFTERLOAD_CHILD"
"""Environment variable that names the child to which a process belongs: `<run id>/<name of the child>`."""

STARTED: set[int] = set()
"""Pids that this process started itself; any other child of ours is an orphan that was handed to us."""

_STOPPED = {"T", "t", "Z", "X"}
_PR_SET_CHILD_SUBREAPER = 36


@contextlib.contextmanager
def adopt_orphans() -> Iterator[None]:
    """While it lasts, orphans among our descendants become our children; those that have ended are reaped at the end."""
    STARTED.update(process.pid for process in psutil.Process().children())
    _set_subreaper(on=True)
    try:
        yield
    finally:
        _reap_orphans()
        _set_subreaper(on=False)


def snapshot(leader: int | None, mark: str) -> list[psutil.Process]:
    """The leader, its descendants, its process group, orphans, and every process that carries `mark`; those that still exist.

    `leader` is None once it has been reaped: its pid may be somebody else's by now, and whoever it left behind is an orphan.
    """
    # psutil keeps its objects between calls and would not notice a pid that was given to another process.
    psutil.process_iter.cache_clear()
    found: dict[int, psutil.Process] = {process.pid: process for process in _orphans()}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid == os.getpid():
                continue
            is_in_group = leader is not None and (process.pid == leader or os.getpgid(process.pid) == leader)
            if is_in_group or _carries(process, mark):
                found[process.pid] = process
    for process in list(found.values()):
        with contextlib.suppress(psutil.Error):
            for child in process.children(recursive=True):
                found.setdefault(child.pid, child)
    return list(found.values())


def freeze(members: Iterable[psutil.Process], timeout_s: float = 2.0) -> bool:
    """Stops all threads of all members (SIGSTOP). False: some were still running when the time was up."""
    members = list(members)
    for process in members:
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            process.send_signal(signal.SIGSTOP)
    end = time.monotonic() + timeout_s
    while not all(is_stopped(process.pid) for process in members):
        if time.monotonic() > end:
            return False
        time.sleep(0.0005)
    return True


def thaw(members: Iterable[psutil.Process]) -> None:
    """Lets all members go on (SIGCONT)."""
    for process in members:
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            process.send_signal(signal.SIGCONT)


def kill_all(members: Iterable[psutil.Process]) -> None:
    """SIGKILL to each member that still exists; psutil makes sure that no pid has been given to somebody else meanwhile."""
    for process in members:
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            process.kill()


def alive(process: psutil.Process) -> bool:
    """Whether the process exists and has not ended (a zombie has)."""
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def survivors(mark: str, known: Iterable[psutil.Process], settle_s: float = 0.5) -> list[tuple[psutil.Process, SurvivingProcess]]:
    """Members of a reaped child that are still alive after a kill, given `settle_s` for the kernel to take them down."""
    end = time.monotonic() + settle_s
    while True:
        left = {process.pid: process for process in (*known, *snapshot(None, mark)) if alive(process)}
        if not left or time.monotonic() > end:
            return [(process, SurvivingProcess(process.pid, _command(process))) for process in left.values()]
        time.sleep(0.01)


def _orphans() -> list[psutil.Process]:
    return [process for process in psutil.Process().children() if process.pid not in STARTED]


def _reap_orphans() -> None:
    for process in _orphans():
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)


def _set_subreaper(*, on: bool) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def _carries(process: psutil.Process, mark: str) -> bool:
    return process.environ().get(MARK) == mark


def is_stopped(pid: int) -> bool:
    """Whether no thread of a process can run: all are stopped, or it has ended."""
    # The state of the first thread alone would not do: the others stop each in its own time.
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return True
    return all(_state(thread) in _STOPPED for thread in threads)


def _state(thread: Path) -> str:
    try:
        text = (thread / "stat").read_text()
    except OSError:
        return "X"
    return text.rpartition(")")[2].split()[0]


def _command(process: psutil.Process) -> str:
    read: Callable[[], list[str]] = process.cmdline
    try:
        return " ".join(read())[:200]
    except psutil.Error:
        return "(ended)"
