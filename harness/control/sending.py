"""Asking something of a run that goes on, and waiting for what became of it. One line in its directory; knows no session."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.control.commands import Command
from harness.errors import UsageError
from harness.rundir import is_held

__all__ = ["COMMANDS", "Receipt", "can_be_steered", "send", "wait_for"]

COMMANDS: Final = "commands.jsonl"
"""The session makes it, in the run directory."""

_POLL_S: Final = 0.02
_LOOK_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a command."""

    landed: bool | None  # None: nothing is known of it
    at_ns: int | None  # when it took effect, CLOCK_MONOTONIC
    text: str  # what it did, or why it did not


def can_be_steered(path: Path) -> bool:
    """Whether there is a session that takes commands for this run directory."""
    return (path / COMMANDS).exists() and is_held(path)


def send(path: Path, command: Command, who: str = "afterload") -> str:
    """Asks it of the run in the directory `path`, and returns the id by which the answer is known.

    Raises UsageError if there is nobody who could do it.
    """
    _require_session(path)
    number = secrets.token_hex(6)
    said = {"v": 1, "id": number, "do": command.do, "value": command.value, "who": who, "sent_ns": time.monotonic_ns()}
    # A line of its own, whatever a writer that died may have left half written; and one write, so that two do not mix.
    line = b"\n" + json.dumps(said).encode() + b"\n"
    try:
        # Not blocking: a pipe that somebody put there would be waited for.
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path / COMMANDS, flags)
    except OSError as error:
        hint = "only whoever started a run can steer it" if isinstance(error, PermissionError) else None
        raise UsageError(f"cannot write {path / COMMANDS}: {error.strerror}", hint) from None
    try:
        about = os.fstat(descriptor)
        is_ours = about.st_uid in {os.geteuid(), path.stat().st_uid}
        if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1 or not is_ours:
            raise UsageError(f"{path / COMMANDS} is not what a session makes: nothing is written there")
        if os.write(descriptor, line) != len(line):
            raise UsageError(f"cannot write {path / COMMANDS}: the disk is full")
    finally:
        os.close(descriptor)
    return number


def wait_for(path: Path, number: str, timeout_s: float) -> Receipt:
    """Waits for what became of the command with that id. Without an answer it says why there is none."""
    end, next_look = time.monotonic() + timeout_s, 0.0
    for receipt in _answers(path, number):
        if receipt is not None:
            return receipt
        now = time.monotonic()
        if now > end:
            return Receipt(None, None, f"nothing is known of it after {timeout_s:g} s; it may still land")
        if now > next_look:
            next_look = now + _LOOK_S
            if not is_held(path):
                # Looked at once more: the session may have answered just before it ended.
                found = next(_answers(path, number))
                return found or Receipt(None, None, "the run ended before it was done")
        time.sleep(_POLL_S)
    raise AssertionError


def _answers(path: Path, number: str) -> Iterator[Receipt | None]:
    """The receipt, if it has been written, asked again and again; reads on where it was."""
    with (path / "events.jsonl").open("rb") as events:
        rest = b""
        while True:
            *lines, rest = (rest + events.read()).split(b"\n")
            yield next((found for line in lines if (found := _receipt(line, number)) is not None), None)


def _receipt(line: bytes, number: str) -> Receipt | None:
    if b'"command_' not in line:
        return None
    with contextlib.suppress(ValueError):
        event: dict[str, Any] = json.loads(line)
        if event.get("id") == number:
            if event["event"] == "command_landed":
                return Receipt(True, event["at_ns"], event["detail"])
            if event["event"] == "command_refused":
                return Receipt(False, None, event["why"])
    return None


def _require_session(path: Path) -> None:
    if not path.is_dir():
        raise UsageError(f"there is no run directory {path}", "see runs/ for those that there are")
    if not (path / "events.jsonl").exists():
        raise UsageError(f"{path} is no run directory: there is no events.jsonl in it")
    if not is_held(path):
        raise UsageError(f"the run {path} is over: nothing can be changed any more", "afterload runs shows which ones go on")
    if not (path / COMMANDS).exists():
        raise UsageError(f"the run {path} takes no commands: it was started by an older version of afterload")
