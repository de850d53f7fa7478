"""The session's side of `commands.jsonl`: what has been asked since it was last looked at. Nothing in it can stop a run."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.control.commands import KINDS, Command, command_of, printable

__all__ = ["Inbox", "Received"]

_LONGEST_LINE: Final = 65_536
_MOST: Final = 10_000
"""Commands in one run. Somebody who sends more of them has a program that does not stop."""

_OLDEST_NS: Final = 10_000_000_000
_MOST_SHOWN: Final = 10**15


@dataclass(frozen=True, slots=True)
class Received:
    """One line, as far as it could be understood."""

    id: str  # empty: it has none that could be answered
    do: str
    value: float | str | None
    who: str
    asked_ns: int  # when it was written, or read if that is not known
    command: Command | None
    why_not: str = ""  # if there is no command


_VERSION: Final = 1
"""Of the lines: what another version means by one is not known."""


class Inbox:
    """The file belongs to the session, which made it: nobody else's is read, whatever is put in its place."""

    def __init__(self, path: Path) -> None:
        """Raises OSError if it cannot be made: also if there is one already, which would be somebody else's."""
        flags = os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        # Whatever umask says, nobody else may write to it.
        os.fchmod(self._descriptor, 0o600)
        self._read_bytes = 0
        self._rest = b""
        self._n_taken = 0
        self._seen: set[str] = set()

    def take(self) -> list[Received]:
        """What is new. Costs one system call if there is nothing."""
        if self._descriptor < 0 or os.fstat(self._descriptor).st_size <= self._read_bytes:
            return []
        data = os.read(self._descriptor, 1 << 20)
        self._read_bytes += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            # Half a line of that length is no command that somebody is still writing.
            self._rest = b"too long"
        return [self._received(line) for line in lines if line.strip()]

    def close(self) -> None:
        """Reads no more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _received(self, line: bytes) -> Received:
        now_ns = time.monotonic_ns()
        self._n_taken += 1
        try:
            said = json.loads(line) if len(line) <= _LONGEST_LINE else None
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            return Received("", "", None, "", now_ns, None, "it is no line of JSON that says a command")
        number, do, who, value = (said.get(key) for key in ("id", "do", "who", "value"))
        number = number if isinstance(number, str) and re.fullmatch(r"[\w.-]{1,64}", number) else ""
        do = printable(do)[:40] if isinstance(do, str) else ""
        sent_ns = said.get("sent_ns")
        asked_ns = sent_ns if isinstance(sent_ns, int) and now_ns - _OLDEST_NS <= sent_ns <= now_ns else now_ns
        command, why_not = None, ""
        if self._n_taken > _MOST:
            why_not = f"more than {_MOST:,} commands were given to this run"
        elif not number:
            why_not = "it has no id"
        elif number in self._seen:
            # Without its id: the receipt of the first one stands.
            number, why_not = "", "a command with this id was given before"
        elif said.get("v", _VERSION) != _VERSION:
            why_not = f"it is of version {_shown(said.get('v'))}; this session knows version {_VERSION}"
        elif do not in KINDS:
            why_not = f"this session knows no command {do!r}; it knows {', '.join(KINDS)}"
        else:
            try:
                command = command_of(do, value)
            except ValueError as error:
                why_not = str(error)
        self._seen.add(number)
        who = printable(who)[:80] if isinstance(who, str) else ""
        return Received(number, do, _shown(value), who, asked_ns, command, why_not)


def _shown(value: Any) -> float | str | None:
    """What was given, as far as it can be written down and shown."""
    if isinstance(value, (int, float)):
        return value if -_MOST_SHOWN <= value <= _MOST_SHOWN else "a number out of all bounds"
    if isinstance(value, str):
        return printable(value)[:200]
    return None if value is None else f"a {type(value).__name__}"
