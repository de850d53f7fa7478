"""What can be asked of a run while it goes on: values, how they are written, and how they are read. Pure.

As text, for people: `rate=200`, `pool=8`, `fault=stop+2s`, `mark=deploy`, `stop`. As JSON, one line a command, in
`commands.jsonl`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from harness.durations import parse_duration_s, show_duration
from harness.errors import UsageError
from harness.faultsyntax import parse_fault_now

__all__ = [
    "FORMS",
    "HELP",
    "KINDS",
    "TASK_KINDS",
    "Command",
    "FaultNow",
    "Mark",
    "SetLength",
    "SetPool",
    "SetRate",
    "SetTasks",
    "SetUsers",
    "Stop",
    "command_of",
    "parse_command",
    "printable",
]

HIGHEST_RATE_PER_S: Final = 100_000
MOST_USERS: Final = 60_000
MOST_THREADS: Final = 10_000
LONGEST_S: Final = 86_400
LONGEST_TEXT: Final = 200
TASK_KINDS: Final = ("sync", "async", "blocking", "inline")


@dataclass(frozen=True, slots=True)
class SetRate:
    """So many requests per second from now on; 0: a pause."""

    do: ClassVar[str] = "rate"
    help: ClassVar[str] = "requests per second from now on; 0 is a pause"
    per_s: float

    @property
    def value(self) -> float:
        """As in JSON."""
        return self.per_s

    def __str__(self) -> str:
        return f"rate={self.per_s:g}"


@dataclass(frozen=True, slots=True)
class SetUsers:
    """So many users from now on, in the closed model."""

    do: ClassVar[str] = "users"
    help: ClassVar[str] = "users from now on, where users wait for answers"
    n: int

    @property
    def value(self) -> int:
        """As in JSON."""
        return self.n

    def __str__(self) -> str:
        return f"users={self.n}"


@dataclass(frozen=True, slots=True)
class SetPool:
    """So many threads for `def` tasks, in each process of the server."""

    do: ClassVar[str] = "pool"
    help: ClassVar[str] = "threads for def tasks, in each process of the server"
    n: int

    @property
    def value(self) -> int:
        """As in JSON."""
        return self.n

    def __str__(self) -> str:
        return f"pool={self.n}"


@dataclass(frozen=True, slots=True)
class SetTasks:
    """Another kind of tasks: the server is stopped by SIGTERM, and started with it."""

    do: ClassVar[str] = "tasks"
    help: ClassVar[str] = "sync, async or blocking: a restart with such tasks"
    kind: str

    @property
    def value(self) -> str:
        """As in JSON."""
        return self.kind

    def __str__(self) -> str:
        return f"tasks={self.kind}"


@dataclass(frozen=True, slots=True)
class SetLength:
    """The load ends so long after its start."""

    do: ClassVar[str] = "for"
    help: ClassVar[str] = "how long the load lasts in all, from its start"
    for_s: float

    @property
    def value(self) -> float:
        """As in JSON."""
        return self.for_s

    def __str__(self) -> str:
        return f"for={show_duration(self.for_s)}"


@dataclass(frozen=True, slots=True)
class FaultNow:
    """A fault, at once: as in a plan, without the time. `restart` is `term`."""

    do: ClassVar[str] = "fault"
    help: ClassVar[str] = "a fault, at once; also stop+2s, squeeze=2+5s, term=5s, restart"
    text: str

    @property
    def value(self) -> str:
        """As in JSON."""
        return self.text

    def __str__(self) -> str:
        return f"fault={self.text}"


@dataclass(frozen=True, slots=True)
class Mark:
    """A note on the time axis."""

    do: ClassVar[str] = "mark"
    help: ClassVar[str] = "a note on the time axis"
    text: str

    @property
    def value(self) -> str:
        """As in JSON."""
        return self.text

    def __str__(self) -> str:
        return f"mark={self.text!r}"


@dataclass(frozen=True, slots=True)
class Stop:
    """The load ends now, in good order; the rest of the run follows."""

    do: ClassVar[str] = "stop"
    help: ClassVar[str] = "the load ends now; the run is drained and judged"

    @property
    def value(self) -> None:
        """As in JSON."""
        return

    def __str__(self) -> str:
        return "stop"


Command = SetRate | SetUsers | SetPool | SetTasks | SetLength | FaultNow | Mark | Stop


def parse_command(text: str) -> Command:
    """Reads what somebody wrote. Raises UsageError: what was given, and what is allowed."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if name not in KINDS:
        near = difflib.get_close_matches(name, list(KINDS), n=1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"{text!r} is nothing that can be asked of a run{meant}", f"there are: {', '.join(FORMS.values())}")
    if name == "stop":
        if equals:
            raise UsageError("stop takes no value", "the load ends now; for=60s lets it end at another time")
        return Stop()
    if not value:
        raise UsageError(f"{name} needs a value", f"e.g., {FORMS[name]}")
    try:
        return command_of(name, _VALUES[name](value))
    except ValueError as error:
        raise UsageError(f"{name}={value}: {error}") from None


def command_of(do: str, value: object) -> Command:
    """The command with a value as in JSON. Raises ValueError: what is wrong with it; KeyError: there is no such command."""
    return KINDS[do](value)


def _number(value: object, least: float, most: float, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        msg = f"{what} is a number from {least:g} to {most:,}; given {_short(value)}"
        raise ValueError(msg)
    return value


def _whole(value: object, least: int, most: int, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        msg = f"{what} is a whole number from {least} to {most:,}; given {_short(value)}"
        raise ValueError(msg)
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not printable(value) or len(value) > LONGEST_TEXT:
        msg = f"{what} is a text of 1 to {LONGEST_TEXT} characters; given {_short(value)}"
        raise ValueError(msg)
    return printable(value)


def printable(text: str) -> str:
    """The text without what a terminal would obey or a file could not hold."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _short(value: object) -> str:
    text = repr(value) if isinstance(value, (bool, int, float, str)) or value is None else f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _rate(value: object) -> SetRate:
    return SetRate(float(_number(value, 0, HIGHEST_RATE_PER_S, "a rate")))


def _tasks(value: object) -> SetTasks:
    if not isinstance(value, str) or value not in TASK_KINDS:
        msg = f"tasks are one of {', '.join(TASK_KINDS)}; given {_short(value)}"
        raise ValueError(msg)
    return SetTasks(value)


def _length(value: object) -> SetLength:
    seconds = float(_number(value, 0, LONGEST_S, "the length of the load, in seconds,"))
    if not seconds:
        msg = "the load lasts longer than 0 s; stop ends it now"
        raise ValueError(msg)
    return SetLength(seconds)


def _fault(value: object) -> FaultNow:
    text = _text(value, "a fault")
    parse_fault_now(text)
    return FaultNow(text)


def _stop(value: object) -> Stop:
    if value is not None:
        msg = f"stop takes no value; given {_short(value)}"
        raise ValueError(msg)
    return Stop()


KINDS: Final[Mapping[str, Callable[[object], Command]]] = {
    "rate": _rate,
    "users": lambda value: SetUsers(_whole(value, 0, MOST_USERS, "the number of users")),
    "pool": lambda value: SetPool(_whole(value, 1, MOST_THREADS, "the number of threads")),
    "tasks": _tasks,
    "for": _length,
    "fault": _fault,
    "mark": lambda value: Mark(_text(value, "a mark")),
    "stop": _stop,
}
"""From the value in JSON to the command. Each raises ValueError."""

FORMS: Final = {
    "rate": "rate=200",
    "users": "users=50",
    "pool": "pool=8",
    "tasks": "tasks=async",
    "for": "for=60s",
    "fault": "fault=kill",
    "mark": "mark=TEXT",
    "stop": "stop",
}
"""An example of each, as people write it."""

HELP: Final = {FORMS[each.do]: each.help for each in (SetRate, SetUsers, SetPool, SetTasks, FaultNow, Mark, SetLength, Stop)}
"""What each does, by its example."""


def _read_rate(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(k?)(?:/s)?", text)
    if found is None:
        msg = "a rate is a number of requests per second, e.g., 200 or 1.5k"
        raise ValueError(msg)
    return float(found[1]) * (1000 if found[2] else 1)


def _read_whole(text: str) -> int:
    if not re.fullmatch(r"\d+(?:_\d+)*", text):
        msg = f"a whole number is needed; given {text!r}"
        raise ValueError(msg)
    return int(text)


_VALUES: Final[Mapping[str, Callable[[str], Any]]] = {
    "rate": _read_rate,
    "users": _read_whole,
    "pool": _read_whole,
    "tasks": str,
    "for": parse_duration_s,
    "fault": str,
    "mark": str,
}
