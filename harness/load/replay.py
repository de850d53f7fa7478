"""Times at which requests came before, from a file: lines of numbers, CSV, NDJSON, an access log. Pure: lines in, times out.

What a time may look like: a number (seconds; of a clock also ms, us or ns since 1970), ISO 8601, or as web servers log it,
`[10/Oct/2026:13:55:36 +0000]`.
"""

from __future__ import annotations

import base64
import csv
import json
import math
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from itertools import chain, islice
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MOST_TIMES",
    "Recorded",
    "ReplayError",
    "packed_times",
    "read_times",
    "replay_length_s",
    "replayed_times_ns",
    "unpacked_times_ns",
]

MOST_TIMES: Final = 5_000_000
"""More do not fit into the message that a load process is given."""
NS_PER_S: Final = 1_000_000_000
_LONGEST_S: Final = 86_400
_LAST_NS: Final = 1 << 63
"""Nanoseconds since 1970 that a signed word of 64 bits does not hold any more: the year 2262."""
_USUAL_NAMES: Final = (
    "time",
    "timestamp",
    "ts",
    "@timestamp",
    "t",
    "time_s",
    "time_iso8601",
    "datetime",
    "date",
    "msec",
    "start_time",
)
_LOGGED = re.compile(r"\[(\d{1,2}/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\]")
_ISO_LIKE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")
# Beyond these a number is no longer seconds since 1970, but ms, us or ns: the year 5138 in seconds.
_FINER_UNITS: Final = ((10**17, 1), (10**14, 1_000), (10**11, 1_000_000))


class ReplayError(ValueError):
    """A file of times that cannot be read. Its text names line, what is there and what is allowed."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """Times of requests, as they came."""

    times_ns: NDArray[np.int64]  # from the start of the load, sorted
    is_in_whole_seconds: bool  # no time had a fraction: several in one second came somewhere in it


def read_times(lines: Iterable[str], field: str | None = None) -> Recorded:
    """The times in the lines of a file; `field` is the column (CSV) or the key (NDJSON) that holds them.

    Times of a clock (the first one is later than a day after zero) count from the first second; others are seconds after load
    start as they are. They need not be in order. Raises ReplayError.
    """
    numbered = ((number, line.strip()) for number, line in enumerate(lines, 1))
    rest = ((number, line) for number, line in numbered if line and not line.startswith("#"))
    first = next(rest, None)
    if first is None:
        raise ReplayError("there is no time in it")
    texts = _texts(first, chain((first,), rest), field)
    found = [_time_ns(number, text) for number, text in islice(texts, MOST_TIMES + 1)]
    if not found:
        raise ReplayError("there is no time in it")
    if len(found) > MOST_TIMES:
        raise ReplayError(f"there are more than {MOST_TIMES:,} times in it, which is what is allowed at most: cut it")
    return _recorded(found)


def replayed_times_ns(
    recorded: Recorded,
    *,
    spread: Literal["constant", "poisson"],
    speed: float,
    duration_s: float | None,
    random: np.random.Generator,
) -> NDArray[np.int64]:
    """When to send: the recorded times, `speed` times as fast, those before `duration_s`. Nanoseconds from load start, sorted.

    Times in whole seconds only say in which second a request came. To send all of a second at its beginning would be a load that
    never was: they are spread over it, evenly (`constant`) or at random (`poisson`).
    """
    times = recorded.times_ns.astype(np.float64)
    if recorded.is_in_whole_seconds and len(times):
        if spread == "poisson":
            times += random.random(len(times)) * NS_PER_S
        else:
            _, first, counts = np.unique(recorded.times_ns, return_index=True, return_counts=True)
            place = np.arange(len(times)) - np.repeat(first, counts)
            times += place / np.repeat(counts, counts) * NS_PER_S
        times.sort()
    due_ns: NDArray[np.int64] = (times / speed).astype(np.int64)
    return due_ns if duration_s is None else due_ns[due_ns < round(duration_s * NS_PER_S)]


def replay_length_s(due_ns: NDArray[np.int64], *, is_in_whole_seconds: bool, speed: float) -> float:
    """How long a replay lasts: until the last request and a mean distance more, or to the end of the last one's second; in ms."""
    last_ns = int(due_ns[-1])
    if is_in_whole_seconds:
        second_ns = NS_PER_S / speed
        end_ns = (math.floor(last_ns / second_ns) + 1) * second_ns
    else:
        end_ns = last_ns + (min(last_ns / (len(due_ns) - 1), NS_PER_S) if len(due_ns) > 1 else NS_PER_S)
    return math.floor(end_ns / 1e6 + 1) / 1000


def packed_times(due_ns: NDArray[np.int64]) -> str:
    """Sorted times as text for a message."""
    return base64.b85encode(zlib.compress(np.diff(due_ns, prepend=0).astype("<i8").tobytes(), 6)).decode("ascii")


def unpacked_times_ns(packed: str) -> NDArray[np.int64]:
    """What `packed_times` packed. Raises ValueError if it was not that."""
    try:
        steps = np.frombuffer(zlib.decompress(base64.b85decode(packed)), dtype="<i8")
    except (ValueError, zlib.error) as error:
        msg = f"replay: no packed times ({error})"
        raise ValueError(msg) from None
    if len(steps) > MOST_TIMES or (len(steps) and int(steps.min()) < 0):
        msg = f"replay: {len(steps)} times; allowed: at most {MOST_TIMES}, sorted"
        raise ValueError(msg)
    return np.cumsum(steps, dtype=np.int64)


def _recorded(found: Sequence[int]) -> Recorded:
    times = np.sort(np.array(found, dtype=np.int64))
    if times[0] < 0:
        raise ReplayError(f"the first time is {times[0] / NS_PER_S:g} s; allowed are times from 0 on")
    is_whole = bool((times % NS_PER_S == 0).all())
    if times[0] > _LONGEST_S * NS_PER_S:
        times = times - times[0]
    if times[-1] >= _LONGEST_S * NS_PER_S:
        raise ReplayError(f"from first to last time they last {times[-1] / NS_PER_S:,.0f} s; allowed are {_LONGEST_S:,} s, a day")
    return Recorded(times, is_whole)


def _texts(first: tuple[int, str], lines: Iterator[tuple[int, str]], field: str | None) -> Iterator[tuple[int, Any]]:
    """The text of each time with the number of its line, by what the first line looks like."""
    _, line = first
    if line.startswith("{"):
        return _of_json(lines, field)
    if _LOGGED.search(line) and field is None:
        return ((number, _searched(number, line)) for number, line in lines)
    if field is not None or ("," in line or ";" in line or "\t" in line):
        return _of_csv(lines, field)
    if not _is_time(line) and re.fullmatch(r"[A-Za-z_@][\w@.-]*", line):
        return _of_csv(lines, field)  # of one column, under its name
    return lines


def _searched(number: int, line: str) -> str:
    found = _LOGGED.search(line)
    if found is None:
        raise ReplayError(f"line {number} has no time like [10/Oct/2026:13:55:36 +0000], as the first one has: {_short(line)}")
    return found[1]


def _of_json(lines: Iterator[tuple[int, str]], field: str | None) -> Iterator[tuple[int, Any]]:
    for number, line in lines:
        try:
            record = json.loads(line, parse_float=Decimal)
        except ValueError:
            raise ReplayError(f"line {number} is no JSON object, as the first one is: {_short(line)}") from None
        if not isinstance(record, dict):
            raise ReplayError(f"line {number} is no JSON object, as the first one is: {_short(line)}")
        field = field or _usual(list(record), number)
        if field not in record:
            raise ReplayError(f"line {number} has no key {field!r}; it has {', '.join(record) or 'none'}")
        yield number, record[field]


def _of_csv(lines: Iterator[tuple[int, str]], field: str | None) -> Iterator[tuple[int, Any]]:
    number, head = next(lines)
    delimiter = max(",;\t", key=head.count)
    names = [name.strip() for name in next(csv.reader([head], delimiter=delimiter))]
    if field is None and _is_time(names[0]):
        at = 0  # no head: the first column
        yield number, names[0]
    else:
        field = field or _usual(names, number)
        if field not in names:
            raise ReplayError(f"there is no column {field!r}; line {number} names {', '.join(names)}")
        at = names.index(field)
    for number, line in lines:
        row = next(csv.reader([line], delimiter=delimiter))
        if len(row) <= at:
            raise ReplayError(f"line {number} has {len(row)} columns, and the time is in column {at + 1}: {_short(line)}")
        yield number, row[at]


def _usual(names: Sequence[str], number: int) -> str:
    for name in _USUAL_NAMES:
        for given in names:
            if given.lower() == name:
                return given
    raise ReplayError(f"which of these holds the time is not clear (line {number}): {', '.join(names)}; name it")


def _is_time(text: str) -> bool:
    return _read_ns(text) is not None


def _time_ns(number: int, value: Any) -> int:
    """Nanoseconds since load start, or since 1970."""
    time_ns = _read_ns(value)
    if time_ns is None:
        raise ReplayError(
            f"line {number}: {_short(value)} is no time; allowed are seconds, e.g., 12.5, ISO 8601, e.g.,"
            " 2026-10-10T13:55:36.120Z, or [10/Oct/2026:13:55:36 +0000]"
        )
    if abs(time_ns) >= _LAST_NS:
        raise ReplayError(
            f"line {number}: {_short(value)} is too far away; allowed are times until the year 2262, {_LAST_NS // NS_PER_S:,} s"
            " after 1970 (of a clock also in ms, us or ns)"
        )
    return time_ns


def _read_ns(value: Any) -> int | None:
    """None: that is no time."""
    return next((time_ns for read in (_number_ns, _iso_ns, _logged_ns) if (time_ns := read(value)) is not None), None)


def _number_ns(value: Any) -> int | None:
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    if isinstance(value, bool) or not number.is_finite() or abs(number) >= 1 << 63:
        return None
    unit = next((unit for limit, unit in _FINER_UNITS if number >= limit), NS_PER_S)
    return math.floor(number * unit)


def _iso_ns(value: Any) -> int | None:
    if not isinstance(value, str) or not _ISO_LIKE.match(value.strip()):
        return None
    return _clock_ns(lambda: datetime.fromisoformat(value.strip()))


def _logged_ns(value: Any) -> int | None:
    return _logged_second_ns(value.strip("[] ")) if isinstance(value, str) else None


@lru_cache(maxsize=4096)  # A log has many requests in one second, and reading a date is slow.
def _logged_second_ns(text: str) -> int | None:
    return _clock_ns(lambda: datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z"))


def _clock_ns(read: Callable[[], datetime]) -> int | None:
    try:
        found = read()
    except ValueError:
        return None
    # Without a zone it does not matter which one is meant: only the distances count.
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    since = found - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * NS_PER_S + since.microseconds * 1_000


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
