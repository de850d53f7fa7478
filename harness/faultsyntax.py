"""How faults are written: `kill@6s`, `stop@6s+2s`, `kill@5s every 5s x3`, `kill@backlog>500 after 2s`. Pure.

An error points at the character where it begins to be none, and lists what is allowed there.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Final

from harness.durations import parse_duration_s
from harness.faults import GAUGES, KINDS, OPERATORS, Condition, FaultKind, FaultPlan

__all__ = ["FAULT_HELP", "parse_fault", "parse_fault_now"]

_DURATION: Final = re.compile(r"\d+(?:\.\d+)?\s*(?:us|ms|s|m|h)(?![A-Za-z])")
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(B|kB|MB|GB|KiB|MiB|GiB)(?![A-Za-z])")
_COUNT: Final = re.compile(r"\d+(?:_\d+)*(?![\w.])")
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z-]*")
_SPACE: Final = re.compile(r"\s*")

_BYTES: Final = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_A_TIME: Final = "a time (6s, 200ms, 1.5m)"
_SIGNALS: Final = ("kill", "term")
_WHOSE: Final = ("server", "all")
_MOST: Final = {"threads": 10_000, "processes": 64}


def parse_fault(text: str) -> FaultPlan:
    """Reads one fault. Raises ValueError: what is wrong, where, and what is allowed there."""
    return _Reader(text).fault()


def parse_fault_now(text: str) -> FaultPlan:
    """Reads a fault that is to happen at once: a kind, its value, its length. `restart` is `term`. Raises ValueError."""
    return _Reader("term" if text.strip() == "restart" else text).fault_now()


class _Reader:
    """Goes through the text from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def fault_now(self) -> FaultPlan:
        name, kind, value = self._what()
        if self._take("@"):
            self._at -= 1
            raise self._refused("it happens now", ["the end", *(["+ and how long"] if kind.length != "none" else [])])
        length_s = self._length(name, kind, f"{name}+2s")
        self._skip()
        if self._at < len(self._text):
            raise self._refused("nothing more is understood here", ["the end"])
        return FaultPlan(name, 0.0, length_s=length_s, value=value)

    def fault(self) -> FaultPlan:
        name, kind, value = self._what()
        if not self._take("@"):
            raise self._refused(
                "it does not say when", ["@ and a time or a condition", *(["= and a value"] if kind.value else [])]
            )
        at_s, condition = self._when()
        length_s = self._length(name, kind, f"{name}@6s+2s")
        every_s, count, not_before_s = None, None, 0.0
        if condition is None:
            if self._keyword("every"):
                every_s = self._positive("how often")
                if found := self._match(re.compile(r"x\s*(?=\d)")):
                    count = self._number("the number of times", 1, 1000) if found else None
        elif self._keyword("after"):
            not_before_s = self._time("from when on the condition counts")
        self._skip()
        if self._at < len(self._text):
            endings = ["the end"]
            if kind.length != "none" and length_s is None:
                endings.append("+ and how long")
            if condition is None and every_s is None:
                endings.append("every TIME, and then x and a number")
            if condition is not None:
                endings.append("after TIME")
            raise self._refused("nothing more is understood here", endings)
        return FaultPlan(name, at_s, condition, not_before_s, length_s, value, every_s, count)

    # Parts.

    def _what(self) -> tuple[str, FaultKind, float | str | None]:
        self._skip()
        name = self._one_of(list(KINDS), "a kind of fault")
        kind = KINDS[name]
        return name, kind, self._value(name, kind) if self._take("=") else kind.default

    def _value(self, name: str, kind: FaultKind) -> float | str:
        match kind.value:
            case "threads" | "processes":
                return self._number(f"the number of {kind.value}", 1, _MOST[kind.value])
            case "duration":
                return self._positive("how much later" if kind.signal is None else "how long it may take")
            case "signal":
                return self._one_of(_SIGNALS, "a signal")
            case "whose":
                return self._one_of(_WHOSE, "whose disk it is")
        self._at -= 1
        others = ", ".join(f"{each}={_example(other)}" for each, other in KINDS.items() if other.value)
        raise self._refused(f"{name} takes no value", ["@ and a time or a condition", f"a kind that takes one: {others}"])

    def _when(self) -> tuple[float | None, Condition | None]:
        self._skip()
        if self._peek(_DURATION):
            return self._time("when"), None
        begin = self._at
        found = self._peek(_WORD)
        if not found:
            raise self._refused("it does not say when", [_A_TIME, f"one of {', '.join(GAUGES)} with a limit (backlog>500)"])
        if found[0] not in GAUGES:
            allowed = [_A_TIME, f"one of {', '.join(GAUGES)} with a limit (backlog>500)"]
            raise self._refused(f"{found[0]!r} is neither a time nor a gauge{_near(found[0], GAUGES)}", allowed)
        gauge = found[0]
        self._at = found.end()
        operator = next((each for each in OPERATORS if self._take(each)), None)
        if operator is None:
            raise self._refused(
                f"{gauge} needs a limit", [f"one of {' '.join(sorted(OPERATORS))} and a number, e.g., {gauge}>500"]
            )
        limit = self._limit(gauge)
        return None, Condition(gauge, operator, limit, re.sub(r"\s+", "", self._text[begin : self._at]))

    def _limit(self, gauge: str) -> float:
        self._skip()
        match GAUGES[gauge][0]:
            case "bytes":
                if found := self._match(_SIZE):
                    return float(found[1]) * _BYTES[found[2]]
                raise self._refused(f"{gauge} is counted in bytes", [f"a number and one of {', '.join(_BYTES)}, e.g., 200MB"])
            case "duration":
                return self._time(f"the limit of {gauge}")
        if found := self._match(_COUNT):
            return float(found[0].replace("_", ""))
        raise self._refused(f"{gauge} is counted", ["a whole number, e.g., 500 or 10_000"])

    def _length(self, name: str, kind: FaultKind, example: str) -> float | None:
        if self._take("+"):
            if kind.length == "none":
                self._at -= 1
                lasting = ", ".join(each for each, other in KINDS.items() if other.length != "none")
                raise self._refused(f"{name} takes no length", ["the end", f"a kind that lasts: {lasting}"])
            return self._positive("how long")
        if kind.length == "required":
            raise self._refused(f"{name} lasts: say how long", [f"+ and a time, e.g., {example}"])
        return None

    def _positive(self, what: str) -> float:
        begin = self._at
        seconds = self._time(what)
        if seconds <= 0:
            self._at = begin
            raise self._refused(f"{what} cannot be nothing", ["a time above zero"])
        return seconds

    def _time(self, what: str) -> float:
        self._skip()
        if found := self._match(_DURATION):
            return round(parse_duration_s(found[0]), 9)
        raise self._refused(f"{what} is a time with a unit (us, ms, s, m, h)", [_A_TIME])

    def _number(self, what: str, least: int, most: int) -> int:
        self._skip()
        found = self._peek(_COUNT)
        if not found or not least <= int(found[0].replace("_", "")) <= most:
            raise self._refused(f"{what} is missing or out of range", [f"a whole number from {least} to {most:,}"])
        self._at = found.end()
        return int(found[0].replace("_", ""))

    def _one_of(self, names: Sequence[str], what: str) -> str:
        self._skip()
        found = self._peek(_WORD)
        if found and found[0] in names:
            self._at = found.end()
            return found[0]
        given = f"{found[0]!r} is not {what}" if found else f"{what} is missing"
        raise self._refused(given + _near(found[0] if found else "", names), [f"one of {', '.join(names)}"])

    # Characters.

    def _keyword(self, word: str) -> bool:
        self._skip()
        found = self._peek(_WORD)
        if found and found[0] == word:
            self._at = found.end()
            return True
        return False

    def _take(self, characters: str) -> bool:
        self._skip()
        if self._text.startswith(characters, self._at):
            self._at += len(characters)
            return True
        return False

    def _skip(self) -> None:
        self._match(_SPACE)

    def _peek(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        return pattern.match(self._text, self._at)

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        self._skip_if_needed(pattern)
        found = self._peek(pattern)
        if found:
            self._at = found.end()
        return found

    def _skip_if_needed(self, pattern: re.Pattern[str]) -> None:
        if pattern is not _SPACE:
            self._skip()

    def _refused(self, what: str, allowed: Sequence[str]) -> ValueError:
        shown = re.sub(r"\s", " ", self._text)
        return ValueError(f"{what}\n    {shown}\n    {' ' * self._at}^ allowed here: {'; or '.join(allowed)}")


def _near(word: str, names: Iterable[str]) -> str:
    found = difflib.get_close_matches(word, list(names), n=1) if word else []
    return f"; did you mean {found[0]!r}?" if found else ""


def _example(kind: FaultKind) -> str:
    if kind.value == "duration":
        return "200ms" if kind.signal is None else "5s"
    return {"threads": "2", "processes": "4", "signal": "term", "whose": "all"}[kind.value or "threads"]


def _help() -> str:
    width = max(map(len, KINDS)) + 2
    kinds = "\n".join(f"  {name:<{width}}{kind.help}" for name, kind in KINDS.items())
    gauges = "\n".join(f"  {name:<{width}}{words}" for name, (_, words) in GAUGES.items())
    return f"""A fault is a kind and when it happens, counted from the start of the load; --fault can be given many times.

  KIND@TIME                     kill@6s
  KIND@TIME+LENGTH              stop@6s+2s            of those that last: {", ".join(_lasting())}
  KIND=VALUE@TIME               squeeze=2@6s+3s
  KIND@TIME every TIME [xN]     kill@5s every 5s x3   without xN until the load ends
  KIND@GAUGE>LIMIT [after TIME] kill@backlog>500 after 2s   as soon as it is true, once; also >=, <, <=

Kinds:
{kinds}

Gauges:
{gauges}

What each does, what proves it and what may be combined: docs/faults.md.
"""


def _lasting() -> list[str]:
    return [name for name, kind in KINDS.items() if kind.length != "none"]


FAULT_HELP: Final = _help()
"""What `--fault help` prints."""
