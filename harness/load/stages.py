"""Stages as people write them: `50 for 10s, 50..200 for 20s, 500 for 2s, 50 for 10s`. Text in, rate profile out. Pure.

stages   = part {"," part}                one after another
part     = N "x" "(" stages ")"           the same N times
         | rates "for" TIME
rates    = RATE                           steady
         | RATE ".." RATE                 a ramp from one to the other
         | ".." RATE                      a ramp from where the part before ended
         | "pause"                        nothing is sent: 0
RATE     = a number, also as 1.5k; per second, or as 300/min
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, NoReturn

from harness.load.profile import Profile, Segment

__all__ = ["HIGHEST_RATE_PER_S", "StagesError", "parse_stages"]

HIGHEST_RATE_PER_S: Final = 100_000
MOST_SEGMENTS: Final = 10_000
LONGEST_S: Final = 86_400
DEEPEST: Final = 10

_NUMBER = re.compile(r"\d+(?:\.\d+)?(?!\d)")
_TIME_UNITS: Final = {"ms": Fraction(1, 1000), "s": Fraction(1), "min": Fraction(60), "m": Fraction(60), "h": Fraction(3600)}
_RATE_UNITS: Final = {"s": Fraction(1), "min": Fraction(1, 60), "m": Fraction(1, 60), "h": Fraction(1, 3600)}
_EXAMPLE: Final = "e.g., 50 for 10s, 50..200 for 20s, 500 for 2s"


class StagesError(ValueError):
    """Stages that cannot be read. Its text shows the line and points at the character."""

    def __init__(self, text: str, at: int, message: str) -> None:
        self.at = at
        shown = text.replace("\n", " ").replace("\t", " ")
        super().__init__(f"{message}\n    {shown}\n    {' ' * at}^")


@dataclass(slots=True)
class _Reader:
    text: str
    at: int = 0
    depth: int = 0

    def skip(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def take(self, word: str) -> bool:
        self.skip()
        if not self.text.startswith(word, self.at):
            return False
        if word.isalpha() and self.text[self.at + len(word) : self.at + len(word) + 1].isalpha():
            return False
        self.at += len(word)
        return True

    def number(self, what: str) -> Fraction:
        self.skip()
        found = _NUMBER.match(self.text, self.at)
        if found is None:
            self.fail(f"{what} is expected here")
        self.at = found.end()
        return Fraction(found[0])

    def is_number(self) -> bool:
        self.skip()
        return _NUMBER.match(self.text, self.at) is not None

    def fail(self, message: str, at: int | None = None) -> NoReturn:
        raise StagesError(self.text, self.at if at is None else at, message)


def parse_stages(text: str) -> Profile:
    """The rate profile that `text` says. Raises StagesError, which points at the character."""
    reader = _Reader(text)
    segments = _sequence(reader, Fraction(0))
    reader.skip()
    if reader.at < len(text):
        reader.fail("a comma before the next stage is expected here, or the end")
    if sum(each.for_s for each in segments) > LONGEST_S:
        reader.fail(f"all stages together last {float(sum(each.for_s for each in segments)):g} s; allowed is {LONGEST_S:,} s", 0)
    if not any(each.expected for each in segments):
        reader.fail("no stage sends anything: one of the rates has to be above 0", 0)
    return Profile(segments)


def _sequence(reader: _Reader, before: Fraction) -> list[Segment]:
    segments: list[Segment] = []
    while True:
        segments += _part(reader, segments[-1].end_per_s if segments else before)
        if len(segments) > MOST_SEGMENTS:
            reader.fail(f"more than {MOST_SEGMENTS:,} stages up to here")
        if not reader.take(","):
            return segments


def _part(reader: _Reader, before: Fraction) -> list[Segment]:
    reader.skip()
    start = reader.at
    if reader.take("pause"):
        return [Segment(_for(reader), Fraction(0), Fraction(0))]
    if reader.take(".."):
        first, second = before, _rate(reader)
    else:
        if not reader.is_number():
            reader.fail(f"a stage is expected here, {_EXAMPLE}")
        number_at = reader.at
        number = reader.number("a number")
        if reader.take("x"):
            return _repeated(reader, number, number_at, before)
        reader.at = number_at
        first = second = _rate(reader)
        if reader.take(".."):
            second = _rate(reader)
    if max(first, second) > HIGHEST_RATE_PER_S:
        reader.fail(f"this rate is above {HIGHEST_RATE_PER_S:,} requests per second, which is the highest that is allowed", start)
    return [Segment(_for(reader), first, second)]


def _repeated(reader: _Reader, times: Fraction, at: int, before: Fraction) -> list[Segment]:
    if times.denominator != 1 or not 1 <= times <= MOST_SEGMENTS:
        reader.fail(f"how often is a whole number from 1 to {MOST_SEGMENTS:,}", at)
    if not reader.take("("):
        reader.fail("a ( is expected here: what is repeated stands in brackets, e.g., 3x(50 for 10s, 500 for 2s)")
    reader.depth += 1
    if reader.depth > DEEPEST:
        reader.fail(f"more than {DEEPEST} brackets within each other")
    inside, segments = reader.at, _sequence(reader, before)
    if not reader.take(")"):
        reader.skip()
        reader.fail("a comma or the ) of what is repeated is expected here")
    if len(segments) * times > MOST_SEGMENTS:
        reader.fail(f"repeated, these are more than {MOST_SEGMENTS:,} stages", at)
    end = reader.at
    all_of_them = segments
    for _ in range(int(times) - 1):
        # Read again: a ramp that begins where the part before ended begins elsewhere the second time.
        reader.at = inside
        all_of_them = all_of_them + _sequence(reader, all_of_them[-1].end_per_s)
    reader.at = end
    reader.depth -= 1
    return all_of_them


def _rate(reader: _Reader) -> Fraction:
    rate = reader.number("a rate (a number of requests per second)")
    if reader.take("k"):
        rate *= 1000
    if reader.take("/"):
        rate *= _unit(reader, _RATE_UNITS, "after / comes s, min or h")
    return rate


def _for(reader: _Reader) -> Fraction:
    reader.skip()
    if not reader.take("for"):
        reader.fail("'for' and a time are expected here, e.g., for 10s")
    reader.skip()
    at = reader.at
    length = reader.number("a time, e.g., 10s,")
    length *= _unit(reader, _TIME_UNITS, "a unit of time is expected here: ms, s, m or h")
    if not length:
        reader.fail("a stage lasts more than 0 s", at)
    return length


def _unit(reader: _Reader, units: dict[str, Fraction], message: str) -> Fraction:
    named = next((name for name in sorted(units, key=len, reverse=True) if reader.take(name)), None)
    if named is None:
        reader.skip()
        reader.fail(message)
    return units[named]
