"""The fault `full-disk`: files of the server's processes cannot grow beyond what their rows have now.

Not by filling a disk but by the limit that the kernel keeps of each process (setrlimit(2), RLIMIT_FSIZE): a write beyond it, or
an allocation, fails with EFBIG, where a full disk says ENOSPC. Who neither ignores nor handles SIGXFSZ would be killed by that
signal, which no full disk sends, and is left alone: then the fault does not land. CPython ignores it.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from harness.disturbances.disturbance import DidNotLand, Disturbance, Receipt
from harness.rundir import RunDir
from harness.servers import ServerUnderTest

__all__ = ["FullDisk"]

_LEAST = 16_384
"""A row file's header: what a process without one may still write."""


class FullDisk(Disturbance):
    """Limits the processes of the server; of the world and the load too, if asked to."""

    def __init__(
        self, server: ServerUnderTest, rundir: RunDir, others: Callable[[], Iterable[tuple[psutil.Process, Path]]]
    ) -> None:
        """`others`: processes besides the server's, with the file of their rows."""
        self._server = server
        self._rundir = rundir
        self._others = others
        self._limits: list[tuple[psutil.Process, tuple[int, int]]] = []

    def begin(self) -> str:
        """Limits each process to the size of its own rows; one without rows to that of the largest."""
        files = {pid: page.path for pid, page in self._server.pages.living().items()}
        largest = max(files.values(), key=_size, default=None)
        wanted = [(process, files.get(process.pid, largest)) for process in self._server.members()]
        wanted += [(process, path) for process, path in self._others() if path.exists()]
        killed = [process for process, _ in wanted if not _is_told(process)]
        if killed:
            names = ", ".join(f"{process.pid} {process.name()}" for process in killed)
            raise DidNotLand(f"the limit would kill instead of being told ({names}: SIGXFSZ is neither ignored nor handled)")
        try:
            for process, path in wanted:
                with contextlib.suppress(psutil.NoSuchProcess):
                    before = process.rlimit(psutil.RLIMIT_FSIZE)
                    self._limits.append((process, (before[0], before[1])))
                    # Twice: it may have grown before it was limited, and cannot afterwards.
                    for _ in range(2):
                        process.rlimit(psutil.RLIMIT_FSIZE, (_size(path), before[1]))
        except (psutil.Error, OSError, ValueError) as error:
            self.end()
            raise DidNotLand(f"the limit could not be set: {error}") from error
        return f"no file of {len(self._limits)} processes grows any more"

    def landed(self) -> Receipt | None:
        """What the kernel says of each process now."""
        now = {str(process.pid): process.rlimit(psutil.RLIMIT_FSIZE)[0] for process, _ in self._limits if process.is_running()}
        return {"at_ns": time.monotonic_ns(), "file_size_limits": now}

    def end(self) -> None:
        """Gives each process back the limit that it had; those that it has started meanwhile, that of the first."""
        known = {process.pid for process, _ in self._limits}
        if self._limits:
            before = self._limits[0][1]
            born = [each for each in self._server.members() if each.pid not in known]
            self._limits += [(process, before) for process in born]
        for process, limits in self._limits:
            with contextlib.suppress(psutil.Error, OSError):
                process.rlimit(psutil.RLIMIT_FSIZE, limits)

    def ended(self) -> Receipt | None:
        """They have."""
        return {"limits_lifted": sum(process.is_running() for process, _ in self._limits)}


def _size(path: Path | None) -> int:
    return path.stat().st_size if path is not None else _LEAST


def _is_told(process: psutil.Process) -> bool:
    bit = 1 << (signal.SIGXFSZ - 1)
    try:
        text = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return True
    masks = [int(line.split()[1], 16) for line in text.splitlines() if line.startswith(("SigIgn:", "SigCgt:"))]
    return any(mask & bit for mask in masks)
