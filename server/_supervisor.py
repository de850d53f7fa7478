"""Many processes on one port: opens it, starts the workers, starts another when one dies, hands signals on, waits for all.

Pure Python: runs no thread, no event loop and no request, so that nothing of it can be inherited half-way. Each worker is this
very program run again from its start (`sys.orig_argv`), told by its environment that it is one (`server._worker`).
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from server._config import ServerConfig
from server._errors import CannotServe
from server._signals import ABANDONED_STATUS, Stops, say
from server._worker import Worker

__all__ = ["supervise"]

FAST_S: Final = 1.0
"""A worker that served for less than this, or never, died fast."""

MOST_FAST_DEATHS: Final = 5
"""So many in a row of one place: the next would die as well."""

_BACKLOG: Final = 2048
_FIRST_PAUSE_S: Final = 0.1
_NO_PROCESS_PAUSE_S: Final = 1.0
_DRAIN_GRACE_S: Final = 10.0
_AT_ONCE_GRACE_S: Final = 5.0
_USAGE_STATUS: Final = 2
_TIE: Final = str(Path(__file__).with_name("_tie.py"))


def supervise(config: ServerConfig) -> int:
    """Serves with `config.workers` processes until signals say otherwise; the exit status: 0, 3 if any worker abandoned tasks,
    2 if the app cannot be served, else 1. Raises CannotServe, or RuntimeError if not on the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        # Also because workers end when the thread that started them does.
        msg = "workers must be started on the main thread, which receives the signals that stop them"
        raise RuntimeError(msg)
    command = _own_command()
    if config.rows is not None:
        _check_rows(config.rows)
    with _open_port(config.host, config.port) as listener:
        return _Supervisor(config, command, listener).run()


@dataclass(eq=False, slots=True)
class _Place:
    """One of the `workers`: whoever fills it."""

    child: _Child | None = None
    fast_deaths: int = 0
    start_at: float | None = None  # when it is to be filled again


@dataclass(eq=False, slots=True)
class _Child:
    """A worker process."""

    number: int
    place: _Place
    process: subprocess.Popen[bytes]
    ready_pipe: int
    ready_at: float | None = None
    asked: bool = False  # to end

    def __str__(self) -> str:
        return f"worker {self.number} (pid {self.process.pid})"


@dataclass(slots=True)
class _Roll:
    """A rolling restart: one place after another gets a new worker, and when that one serves, the old one is asked to end."""

    places: deque[_Place]
    coming: _Child | None = None
    going: _Child | None = None


class _Supervisor:
    """From the open port to the end of the last worker."""

    def __init__(self, config: ServerConfig, command: list[str], listener: socket.socket) -> None:
        self._config = config
        self._command = command
        self._listener = listener
        self._places = [_Place() for _ in range(config.workers)]
        self._children: dict[int, _Child] = {}
        self._started = 0
        self._served = False  # all places were filled at least once
        self._roll: _Roll | None = None
        self._stops_obeyed = 0
        self._kill_at: float | None = None
        self._status = 0
        self._abandoned = False
        self._stops = Stops()
        self._hang_ups = 0
        self._had_terminal = _has_terminal()
        self._selector = selectors.DefaultSelector()
        self._listen, self._tell = socket.socketpair()
        for end in (self._listen, self._tell):
            end.setblocking(False)

    def run(self) -> int:
        """Returns the exit status."""
        numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGCHLD]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        fd_before = signal.set_wakeup_fd(self._tell.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        self._selector.register(self._listen, selectors.EVENT_READ)
        try:
            for place in self._places:
                self._fill(place)
            while self._children or not self._stops_obeyed:
                self._look()
        finally:
            # Whatever went wrong here, no worker is left behind; each has been told by the kernel's way too (_tie.py).
            for child in self._children.values():
                child.process.send_signal(signal.SIGTERM)
            signal.set_wakeup_fd(fd_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            self._listen.close()
            self._tell.close()
        status = ABANDONED_STATUS if self._abandoned else self._status
        say(f"all workers have ended; exit status {status}")
        return status

    def _look(self) -> None:
        for key, _ in self._selector.select(self._patience_s()):
            if key.fileobj is self._listen:
                with contextlib.suppress(BlockingIOError):
                    self._listen.recv(4096)
            else:
                self._hear_ready(key.data)
        for child in list(self._children.values()):
            if child.process.poll() is not None:
                self._ended(child)
        self._obey_signals()
        now = time.monotonic()
        for place in self._places:
            if place.start_at is not None and place.start_at <= now:
                self._fill(place)
        self._go_on_rolling()
        if self._kill_at is not None and self._kill_at <= now:
            self._kill_late()

    def _patience_s(self) -> float | None:
        times = [place.start_at for place in self._places if place.start_at is not None]
        if self._kill_at is not None:
            times.append(self._kill_at)
        return max(min(times) - time.monotonic(), 0.0) if times else None

    # Workers.

    def _start(self, place: _Place) -> _Child:
        self._started += 1
        read, write = os.pipe()
        os.set_blocking(read, False)
        try:
            worker = Worker(self._started, self._listener.fileno(), write, os.getpid())
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", _TIE, str(os.getpid()), *self._command],
                env={**os.environ, **worker.to_environment()},
                pass_fds=(worker.listener, worker.ready),
            )
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
        child = _Child(self._started, place, process, read)
        self._children[process.pid] = child
        self._selector.register(read, selectors.EVENT_READ, child)
        return child

    def _fill(self, place: _Place) -> None:
        place.start_at = None
        try:
            place.child = self._start(place)
        except OSError as error:
            # No memory, no descriptors, no process: the others go on, and it may pass.
            place.start_at = time.monotonic() + _NO_PROCESS_PAUSE_S
            say(f"no worker could be started: {error.strerror}; trying again in {_NO_PROCESS_PAUSE_S:g} s")

    def _hear_ready(self, child: _Child) -> None:
        said = b""
        # A program that the dead worker's app has forked may hold the other end: then there is neither a byte nor an end.
        with contextlib.suppress(BlockingIOError):
            said = os.read(child.ready_pipe, 16)
        self._selector.unregister(child.ready_pipe)
        os.close(child.ready_pipe)
        child.ready_pipe = -1
        if said:
            child.ready_at = time.monotonic()
            if not self._served and all(place.child is not None and place.child.ready_at for place in self._places):
                self._served = True
                host, port = self._listener.getsockname()[:2]
                host = f"[{host}]" if ":" in host else host
                say(f"serving on http://{host}:{port} with {len(self._places)} workers (pid {os.getpid()})")

    def _ended(self, child: _Child) -> None:
        del self._children[child.process.pid]
        if child.ready_pipe >= 0:
            self._hear_ready(child)
        place, status = child.place, child.process.returncode
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        if child.ready_at is None:
            how += " before it served"
        self._abandoned |= status == ABANDONED_STATUS
        if place.child is child:
            place.child = None
        roll = self._roll
        if roll is not None and roll.going is child:
            roll.going = None
        if child.asked:
            if child.ready_at is not None and status not in (0, ABANDONED_STATUS):
                self._status = self._status or 1
            say(f"{child} {how}, as it was asked to end")
        elif roll is not None and roll.coming is child and place.child is not None:
            self._roll = None
            say(f"{child} {how}: the rolling restart is given up, and the old workers go on")
        elif roll is not None and roll.coming not in (None, child) and roll.coming.place is place:
            say(f"{child} {how}; another one is being started already")
        elif status == _USAGE_STATUS and not self._served and child.ready_at is None:
            say(f"{child} {how}: the app cannot be served")
            self._give_up(_USAGE_STATUS)
        else:
            if roll is not None and roll.coming is child:
                self._roll = None
            fast = child.ready_at is None or time.monotonic() - child.ready_at < FAST_S
            place.fast_deaths = place.fast_deaths + 1 if fast else 0
            self._try_again(place, f"{child} {how}")

    def _try_again(self, place: _Place, what: str) -> None:
        if place.fast_deaths >= MOST_FAST_DEATHS:
            say(f"{what}, and so did the {MOST_FAST_DEATHS - 1} before it, each within {FAST_S:g} s: giving up")
            self._give_up(1)
            return
        pause_s = _FIRST_PAUSE_S * 2 ** (place.fast_deaths - 1) if place.fast_deaths else 0.0
        place.start_at = time.monotonic() + pause_s
        say(f"{what}; starting another" + (f" in {pause_s:g} s" if pause_s else ""))

    # Signals.

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._hang_ups += 1
        elif number != signal.SIGCHLD:
            self._stops.heard(number)

    def _obey_signals(self) -> None:
        if self._hang_ups:
            self._hang_ups = 0
            if self._had_terminal and not _has_terminal():
                # Nobody asked for new workers: the terminal was closed.
                self._stops.count = max(self._stops.count, 1)
            elif not self._stops_obeyed:
                say("SIGHUP: replacing the workers one by one")
                self._roll = _Roll(deque(self._places), *((self._roll.coming, self._roll.going) if self._roll else ()))
        if self._stops.count > self._stops_obeyed:
            self._stop(at_once=self._stops.count > 1)

    def _give_up(self, status: int) -> None:
        self._status = self._status or status
        self._stops.count = max(self._stops.count, 1)
        self._stop(at_once=self._stops.count > 1)

    def _stop(self, *, at_once: bool) -> None:
        """TERM however often asks a worker to drain; QUIT stops it at once."""
        if not self._stops_obeyed:
            say(f"stopping {len(self._children)} workers")
        elif at_once:
            say("stopping the workers at once")
        self._stops_obeyed = self._stops.count
        self._roll = None
        grace_s = _AT_ONCE_GRACE_S if at_once else self._config.drain_s + _DRAIN_GRACE_S
        self._kill_at = time.monotonic() + grace_s
        for place in self._places:
            place.start_at = None
        for child in self._children.values():
            child.asked = True
            # One that does not serve yet has nothing to lose and may not be ready for QUIT.
            child.process.send_signal(signal.SIGQUIT if at_once and child.ready_at is not None else signal.SIGTERM)

    def _kill_late(self) -> None:
        self._kill_at = None
        for child in self._children.values():
            say(f"{child} did not end in time and is killed")
            self._abandoned = True
            child.process.kill()

    # Rolling restarts.

    def _go_on_rolling(self) -> None:
        roll = self._roll
        if roll is None or roll.going is not None:
            return
        if roll.coming is not None:
            if roll.coming.ready_at is None:
                return
            place, roll.going = roll.coming.place, roll.coming.place.child
            place.child, roll.coming = roll.coming, None
            if roll.going is not None:
                roll.going.asked = True
                roll.going.process.send_signal(signal.SIGTERM)
                return
        while roll.places:
            place = roll.places.popleft()
            # An empty place is about to be filled anyway.
            if place.child is not None:
                try:
                    roll.coming = self._start(place)
                except OSError as error:
                    say(f"no worker could be started: {error.strerror}; the rolling restart is given up")
                    break
                return
        self._roll = None
        say("the rolling restart has ended")


def _own_command() -> list[str]:
    """What was run to get here. Raises CannotServe where that cannot be run again."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file in (None, "<stdin>") and "-c" not in sys.orig_argv:
        msg = "cannot serve: workers run the program again from its start, and this one came from a prompt: put it into a file"
        raise CannotServe(msg)
    return [sys.executable, *sys.orig_argv[1:]]


def _open_port(host: str, port: int) -> socket.socket:
    place = f"{host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        msg = f"cannot serve: {place}: {error.strerror or error}"
        raise CannotServe(msg) from error
    try:
        # As in server/native/src/server.rs: the port of a killed server can be used again at once, but is never shared.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        msg = f"cannot serve: {place}: {error.strerror or error}"
        raise CannotServe(msg) from error
    return listener


def _check_rows(path: Path) -> None:
    """Raises CannotServe if the folder is missing or holds files of an earlier server, which its workers would stumble over."""
    pattern = re.compile(re.escape(path.stem) + r"-\d+" + re.escape(path.suffix))
    try:
        there = [other.name for other in path.parent.iterdir() if pattern.fullmatch(other.name)]
    except OSError as error:
        msg = f"cannot serve: {path}: {error.strerror or error}"
        raise CannotServe(msg) from error
    if there:
        msg = f"cannot serve: {path.with_name(min(there))}: File exists"
        raise CannotServe(msg)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
