"""What there is once in a process that serves: its files and the thread that watches it. Begun at the first call of an app.

A process that was forked from such a one begins anew, at its own first call; a process that only imports the app never begins.
"""

from __future__ import annotations

import atexit
import os
import platform
import sys
import traceback
from _thread import allocate_lock
from asyncio import AbstractEventLoop
from importlib import metadata

from . import accelerator
from .notes import Notes
from .rows import Gauge, Page, counter
from .sampler import Sampler, running_loop

__all__ = ["Process", "begin", "trouble", "unhooked"]

_SHUTDOWN = "graceful shutdown"
"""With these words uvicorn cancels what has not ended within `--timeout-graceful-shutdown`."""

_PACKAGES = ("starlette", "fastapi", "anyio", "uvicorn")

current: Process | None = None
"""None: nothing has begun in this process, or it could not."""

_hooked: list[str] = []
_unhooked: dict[str, str] = {}
_has_failed = False
_here: Notes | None = None
_lock = allocate_lock()
_rows_path = os.environ.get("AFTERLOAD_PROBE_ROWS", "")
_boot = os.environ.get("AFTERLOAD_PROBE_BOOT", "")
_label = os.environ.get("AFTERLOAD_PROBE_LABEL", "")
_pool = os.environ.get("AFTERLOAD_PROBE_POOL", "")


class Process:
    """Rows, notes and sampler of this process."""

    def __init__(self) -> None:
        """Raises OSError if its files cannot be made."""
        pid = os.getpid()
        stem = f"{_stem()}-{pid}"
        self.page = Page(_free(stem), int(_boot) if _boot.isdecimal() else 0, _label)
        self.notes = _notes()
        self.untagged = (pid & 0x3F_FFFF) << 40
        self.packages: set[str] = set()
        """Top-level packages of the endpoints that were asked: whose code is the application's, wherever it is installed."""
        self.n_answered = 0
        sheet = self.page.sheet
        self.next_request = counter() if sheet is None else sheet.next_request
        """Every request is counted at once: who acknowledges more than were seen here has another way to the app."""
        if sheet is not None:
            sheet.belongs_to(self, self.untagged)
        self.words = self.page.words
        self.loop: AbstractEventLoop | None = None  # one that is watched and has served
        self._ending: tuple[AbstractEventLoop | None, int] = (None, 0)
        self.sampler = Sampler(self, int(_pool) if _pool.isdecimal() else 0)
        self.loops = self.sampler.loops
        versions = {name: version for name in _PACKAGES if (version := _version(name))}
        text = f"hooked {', '.join(_hooked) or 'nothing'} in CPython {platform.python_version()}"
        versions = {"python": platform.python_version(), **versions}
        self.notes.write("hooked", text, hooks=list(_hooked), versions=versions, pure=accelerator.why_not)
        for what, why in _unhooked.items():
            self.notes.once("unhooked", f"{what}: {why}", what=what)
        has_gil = getattr(sys, "_is_gil_enabled", None)
        if has_gil is not None and not has_gil():
            self.notes.write("note", "this Python has no GIL: the probe has not been tried on it")

    def answered(self) -> int:
        """How many requests have been."""
        sheet = self.page.sheet
        return self.n_answered + (0 if sheet is None else int(sheet.answered))

    def ends(self, loop: AbstractEventLoop | None) -> None:
        """Its server has told the app to end, or it is run once more after it has served: unless requests come in yet."""
        self._ending = loop, self.words[Gauge.REQUESTS]

    def serves(self, loop: AbstractEventLoop) -> None:
        """Something came in: what looked like its end was none, but the end of a warm-up in which the app was asked by itself."""
        if loop is self._ending[0]:
            self._ending = (None, 0)

    def is_ending(self, error: BaseException) -> bool:
        """Whether a request that this has cancelled goes with its process. If not, it was the app that cancelled it."""
        # Servers cancel requests before they tell the app, when their patience is at an end.
        is_asked = self.page.is_asked_to_end() or any(_SHUTDOWN in str(part) for part in error.args)
        return is_asked or self.is_winding_down(error)

    def is_winding_down(self, error: BaseException) -> bool:
        """The same of work that the app has spawned: no server knows of it, so it goes with its loop, or when the app is told.

        While a server that was asked to end still answers, it is the app that cancels such work.
        """
        loop = running_loop()
        if loop is None:
            return isinstance(error, GeneratorExit)  # closed by nobody: its loop is gone
        # Requests that took the short way have not been told to `serves`.
        return (loop, self.words[Gauge.REQUESTS]) == self._ending

    def close(self) -> None:
        """The interpreter ends."""
        self.sampler.close()
        self.page.close()


def begin() -> Process | None:
    """The files of this process, made at the first call. None: they can't be."""
    global current, _has_failed
    with _lock:
        if current is None and not _has_failed and _rows_path:
            try:
                current = Process()
                atexit.register(current.close)
            except Exception as error:  # noqa: BLE001  # no file, no account; the app runs all the same
                _has_failed = True
                _notes().write("unhooked", f"no task rows: {type(error).__name__}: {error}", what="rows")
        return current


def hooked(what: str) -> None:
    """Keeps in mind that it was done, for the note."""
    _hooked.append(what)


def unhooked(what: str, why: str) -> None:
    """Says that something will not be seen. At once: it may be the reason that no app is ever seen to be called."""
    if what in _unhooked:
        return
    _unhooked[what] = why
    _notes().once("unhooked", f"{what}: {why}", what=what)


def trouble(where: str, error: BaseException) -> None:
    """Notes an error of the probe's own, once for each place."""
    process = current
    if process is not None:
        step = traceback.extract_tb(error.__traceback__)[-1:]
        place = f" ({os.path.basename(step[0].filename)}:{step[0].lineno})" if step else ""  # noqa: PTH119
        process.notes.once("unhooked", f"{where}: the probe raised {type(error).__name__}: {error}{place}", what=where)


def _after_fork() -> None:
    """In the child: the files are the parent's, and so is the thread."""
    global current, _has_failed, _lock
    _lock = allocate_lock()
    if current is not None:
        current.page.forget()
        atexit.unregister(current.close)
    current = None
    _has_failed = False


def _stem() -> str:
    return _rows_path[: -len(".rows")] if _rows_path.endswith(".rows") else _rows_path


def _free(stem: str) -> str:
    # A process that replaces itself (exec) keeps its number, and its first life keeps its file.
    path, number = f"{stem}.rows", 1
    while os.path.exists(path):  # noqa: PTH110
        number += 1
        path = f"{stem}-{number}.rows"
    return path


def _notes() -> Notes:
    """Those of this process: one object, which knows what has been said."""
    global _here
    if _here is None or _here.pid != os.getpid():
        _here = Notes(f"{_stem()}-{os.getpid()}.notes.jsonl")
    return _here


def _version(name: str) -> str:
    if name not in sys.modules:
        return ""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return str(getattr(sys.modules[name], "__version__", "?"))


os.register_at_fork(after_in_child=_after_fork)
