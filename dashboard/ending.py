"""What is said when the screen has gone: the summary and where the run is, or that it goes on; and the exit status."""

from __future__ import annotations

import contextlib
import signal
import termios
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

import click

from dashboard.options import is_in_browser
from dashboard.watching import Mode, Watching

if TYPE_CHECKING:
    from dashboard.child import RunChild
    from harness.schema import Summary

__all__ = ["cleared", "is_there", "restored", "tell_end"]

_RESET: Final = (
    "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1004l\x1b[?2004l\x1b[?2048l\x1b[<u\x1b[?1049l\x1b[?7h\x1b[?25h"
)
"""No mouse, no focus events, no bracketed paste, no reports, the usual keys; the first screen, wrapping, and the cursor."""


def is_there(terminal: TextIO | None) -> bool:
    """Whether a terminal still is one: after a hangup everything that is asked of it fails."""
    try:
        return terminal is not None and bool(termios.tcgetattr(terminal.fileno()))
    except (termios.error, OSError, ValueError):
        return False


@contextlib.contextmanager
def restored(stdin: TextIO, env: Mapping[str, str]) -> Iterator[None]:
    """The modes of the terminal as they were, however this ends: Textual's own way back misses some of them.

    From the beginning on, what somebody types is kept for the first picture, and not shown by the terminal itself.
    """
    try:
        before = None if is_in_browser(env) else termios.tcgetattr(stdin.fileno())
    except (termios.error, OSError, ValueError):
        before = None
    if before is None:
        yield
        return
    quiet = list(before)
    quiet[3] &= ~(termios.ECHO | termios.ICANON)
    # It waits until the app listens: to be ended before, without a word, would leave the terminal mute.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        termios.tcsetattr(stdin.fileno(), termios.TCSANOW, quiet)
        yield
    finally:
        # The app listens no more, and what it has given back is what it found: without an echo.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        # A terminal that was hung up takes nothing any more.
        with contextlib.suppress(OSError, ValueError, termios.error):
            termios.tcsetattr(stdin.fileno(), termios.TCSANOW, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextlib.contextmanager
def cleared(stderr: TextIO, env: Mapping[str, str]) -> Iterator[None]:
    """What was switched on to draw is switched off, also if the drawing broke."""
    is_over = False
    try:
        yield
        is_over = True
    finally:
        if not is_over and not is_in_browser(env):
            with contextlib.suppress(OSError, ValueError):
                stderr.write(_RESET)
                stderr.flush()


def tell_end(watching: Watching | None, child: RunChild | None, *, ended_by: int | None, screen_status: int = 0) -> int:
    """Prints it, and returns the exit status: of the screen if it broke or was ended by a signal, otherwise of the run."""
    path = child.path if child is not None else None if watching is None or watching.mode is Mode.REPLAY else watching.path
    status = 0 if path is None else _tell(path, child)
    if screen_status:
        return screen_status
    if ended_by is not None:
        return 128 + ended_by
    return status


def _tell(path: Path, child: RunChild | None) -> int:
    from harness.commands.showing import EXIT_STATUS, shown_path, write_summary  # the first picture need not wait for it
    from harness.rundir import is_held

    if child is not None and child.poll() is not None and not (path / "summary.json").exists():
        child.forget_directory()
        if child.poll() == 128 + signal.SIGINT and not path.exists():
            click.echo("the run was stopped before it had begun", err=True)
    if not path.exists():  # it never began, and that was told
        return (child.poll() if child is not None else None) or 1
    with contextlib.suppress(BrokenPipeError, OSError):
        summary = _summary(path)
        status = child.poll() if child is not None else None
        if summary is not None and (child is None or status is not None):
            write_summary(summary, None)
            click.echo(f"run directory: {shown_path(path)}")
            if (path / "report.html").exists():
                click.echo(f"report: {shown_path(path / 'report.html')}")
            return EXIT_STATUS[summary.verdict] if status is None else status
        if child is not None and status is not None:
            for line in child.last_lines(8):
                click.echo(line, err=True)
            click.echo(f"error: the run ended without a summary ({_how(status)}); its directory: {shown_path(path)}", err=True)
            return status or 1
        if child is None and not is_held(path):
            click.echo("error: the run ended without a summary that can be read: it crashed, or is of another version", err=True)
            click.echo(f"hint: afterload report {shown_path(path)} judges what there is", err=True)
            return 1
        click.echo(f"the run goes on: afterload attach {shown_path(path)}", err=True)
    return 0


def _how(status: int) -> str:
    return f"exit status {status}" if status <= 128 else signal.Signals(status - 128).name


def _summary(path: Path) -> Summary | None:
    from pydantic import ValidationError

    from harness.schema import Summary

    try:
        return Summary.model_validate_json((path / "summary.json").read_bytes())
    except (OSError, ValidationError):
        return None
