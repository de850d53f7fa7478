"""How a service level objective is written: `p99<50ms`, `achieved>=95% of offered`, `p99<50ms@5s`. Grammar only, no figures.

    slo     := figure operator number [unit] ["of" figure] ["@" duration] | figure "bounded"
    figure  := part ("." part)*          part := name, number, percentile such as p99.9, or a name in quotes

What the names mean is in harness/figures.py, whether one holds in harness/gates.py. A hand-written parser: it has to point at the
character, say what was expected there and what people mean by what they wrote, which takes more lines than the grammar itself.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Final, Literal, NoReturn, get_args

__all__ = ["DURATIONS_S", "Operator", "Part", "Slo", "SloError", "SloResult", "SloWindows", "parse_slo"]

Operator = Literal["<", "<=", ">", ">=", "=="]

DURATIONS_S: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_UNITS: Final = (*DURATIONS_S, "%", "/s")
_OTHER_WORDS: Final = {
    **dict.fromkeys(("µs", "usec", "microseconds"), "us"),
    **dict.fromkeys(("msec", "millis", "milliseconds"), "ms"),
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("hour", "hours"), "h"),
    **dict.fromkeys(("percent", "pct"), "%"),
    **dict.fromkeys(("rps", "req", "per"), "/s"),
}

_SPACE: Final = re.compile(r"\s*")
_OPERATOR: Final = re.compile(r"<=|>=|==|<|>|≤|≥")
_SAME: Final = {"≤": "<=", "≥": ">="}
_MEANT: Final = {"=": "==", "=<": "<=", "=>": ">=", "===": "=="}
_NUMBER: Final = re.compile(r"\d[\d_]*(?:,\d{3})*(?:\.\d+)?")
_UNIT: Final = re.compile(r"/s\b|%|[A-Za-zµ]+")
_PART: Final = re.compile(r"""[A-Za-z_][\w-]*|\d+|"[^"]*"|'[^']*'""")
_PERCENTILE: Final = re.compile(r"(?:[a-z]+_)?p\d{1,2}")
_WORD: Final = re.compile(r"[^\s<>=@.]+")


class SloError(ValueError):
    """An expression that makes no sense. Its text has the expression with a mark under the character that it is about."""

    def __init__(self, message: str, text: str, at: int) -> None:
        super().__init__(f"{message}\n    {text}\n    {' ' * at}^" if text else message)
        self.message, self.text, self.at = message, text, at


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a figure's name, and where it stands in the text."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Slo:
    """One objective, as it was written."""

    text: str
    figure: tuple[Part, ...]
    operator: Operator
    number: float
    number_at: int
    unit: str | None = None  # one of us, ms, s, m, h, %, /s; None: a bare number
    of: tuple[Part, ...] = ()  # the number is a share of this figure
    window_s: float | None = None  # it must hold in every window of this length; None: in the whole run
    window_at: int = 0
    bounded: bool = False  # it must not grow without end; operator and number then say nothing

    def error(self, message: str, at: int) -> SloError:
        """An error about this objective, to be raised."""
        return SloError(message, self.text, at)


@dataclass(frozen=True, slots=True)
class SloWindows:
    """What became of an objective that has to hold in every window."""

    length_s: float
    n: int
    n_broken: int
    n_undecided: int
    worst_from_s: float | None  # after load start: where the window begins whose value the result shows; None: no window had one


@dataclass(frozen=True, slots=True)
class SloResult:
    """Whether an objective holds. Numbers are in `unit`; inf: at least that share never ended."""

    text: str
    holds: bool | None  # None: it cannot be told, and `why` says what stands in the way
    value: float | None  # as measured; windowed: of the worst window. None: there is none
    low: float | None  # what it may be at least, and at most; other than `value` where it is not known exactly
    high: float | None
    limit: float | None
    unit: Literal["ms", "s", "/s", "%", "bytes", ""]  # "": a count
    why: str = ""  # a sentence; "" where there is nothing to say
    windows: SloWindows | None = None


def parse_slo(text: str) -> Slo:
    """Reads one expression. Raises SloError, a ValueError."""
    return _Parser(text.strip()).slo()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def slo(self) -> Slo:
        if not self._text:
            self._fail("there is no expression; write, e.g., p99<50ms")
        figure = self._figure("the name of a figure, e.g., p99 or lost")
        if (at := self._bounded()) is not None:
            return Slo(self._text, figure, "<=", 0.0, at, bounded=True)
        operator = self._operator()
        number_at = self._skip()
        number = self._number(f"a number after {operator}")
        unit = self._unit()
        of = self._of(unit)
        window_s, window_at = self._window()
        self._end()
        return Slo(
            text=self._text,
            figure=figure,
            operator=operator,
            number=number,
            number_at=number_at,
            unit=unit,
            of=of,
            window_s=window_s,
            window_at=window_at,
        )

    def _figure(self, expected: str) -> tuple[Part, ...]:
        self._skip()
        if _NUMBER.match(self._text, self._at):
            self._fail("expected a figure, found a number: write the figure first, e.g., p99<50ms")
        parts: list[Part] = []
        while True:
            at = self._at
            found = self._take(_PART)
            if found is None:
                self._fail(f"expected {expected if not parts else 'a name after the dot'}, {self._found()}")
            if _PERCENTILE.fullmatch(found) and (rest := self._take(re.compile(r"\.\d+"))):
                found += rest
            parts.append(Part(found.strip("\"'"), at))
            if not self._take(re.compile(r"\.")):
                return tuple(parts)

    def _bounded(self) -> int | None:
        """Where the word stands, if it does. Nothing follows it: a backlog has no slope in a moment."""
        at = self._skip()
        if not self._take(re.compile(r"bounded\b")):
            return None
        self._skip()
        if self._at < len(self._text) and self._text[self._at] == "@":
            self._fail("whether something is bounded shows over the whole load alone: leave the window out")
        self._end()
        return at

    def _operator(self) -> Operator:
        at = self._skip()
        found = self._take(_OPERATOR)
        symbols = re.match(r"[<>=!~]+", self._text[at:])
        wrong = symbols[0] if symbols else ""
        if found is None or (wrong and wrong != found):
            self._at = at
            if wrong:
                meant = f"did you mean {_MEANT[wrong]!r}?" if wrong in _MEANT else "there are <, <=, >, >= and =="
                self._fail(f"{wrong!r} is no comparison; {meant}")
            self._fail(f"expected a comparison (<, <=, >, >= or ==), {self._found()}")
        found = _SAME.get(found, found)
        return next(operator for operator in get_args(Operator) if operator == found)

    def _number(self, expected: str) -> float:
        found = self._take(_NUMBER)
        if found is None:
            self._fail(f"expected {expected}, {self._found()}")
        return float(found.replace("_", "").replace(",", ""))

    def _unit(self) -> str | None:
        at = self._skip()
        found = self._take(_UNIT)
        if found in _UNITS:
            return found
        self._at = at
        if found is None or found == "of":
            return None
        if found in {"and", "or"}:
            self._end()
        meant = _OTHER_WORDS.get(found.lower()) or next(iter(difflib.get_close_matches(found, _UNITS, n=1)), None)
        return self._fail(
            f"{found!r} is no unit; there are {', '.join(_UNITS)}" + (f"; did you mean {meant!r}?" if meant else ""),
        )

    def _of(self, unit: str | None) -> tuple[Part, ...]:
        at = self._skip()
        if not self._take(re.compile(r"of\b")):
            return ()
        if unit != "%":
            self._at = at
            self._fail("'of' follows a share, e.g., 95% of offered")
        return self._figure("the name of a figure after 'of', e.g., offered")

    def _window(self) -> tuple[float | None, int]:
        self._skip()
        if not self._take(re.compile("@")):
            return None, 0
        at = self._skip()
        length = self._number("the length of a window after @, e.g., 5s")
        unit_at = self._at
        unit = self._unit()
        if unit not in DURATIONS_S:
            self._at = unit_at
            self._fail(f"a window is a duration, e.g., @5s ({', '.join(DURATIONS_S)})")
        if not length:
            self._at = at
            self._fail("a window of no length has no figures; write, e.g., @5s")
        return length * DURATIONS_S[unit], at

    def _end(self) -> None:
        self._skip()
        if self._at == len(self._text):
            return
        if re.match(r"and\b|or\b|[<>=&|,;]", self._text[self._at :]):
            self._fail("one comparison each: give the others with a --slo of their own")
        self._fail(f"expected the end of the expression, {self._found()}")

    def _skip(self) -> int:
        self._take(_SPACE)
        return self._at

    def _take(self, what: re.Pattern[str]) -> str | None:
        found = what.match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        return found[0]

    def _found(self) -> str:
        if self._at == len(self._text):
            return "found the end"
        word = _WORD.match(self._text, self._at)
        return f"found {(word[0] if word else self._text[self._at])!r}"

    def _fail(self, message: str) -> NoReturn:
        raise SloError(message, self._text, self._at)
