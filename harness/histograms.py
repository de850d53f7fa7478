"""Requests as histograms: what comes back of a load machine's requests when there are too many to send each row (docs/rows.md).

One line of JSON for each second of the load, in it counts and HDR histograms (V2, compressed, Base64) of response, service and
lag in ns with three digits, and one for the whole load, made on its own: adding the seconds up gives it again, bit for bit. A
second begins and ends by when requests were due, so no other machine's clock matters.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

from harness.grouping import is_refused
from harness.model import Counted, CountedLoad, Silence
from harness.rows import Outcome, RequestError, read_rows

__all__ = ["HistogramError", "count_rows", "read_counted"]

VERSION: Final = 1
LOWEST_NS: Final = 1
HIGHEST_NS: Final = 3_600_000_000_000
DIGITS: Final = 3
_BITS: Final = 11  # of a value with three digits: 2048 sub-buckets
_KINDS: Final = ("response", "answered", "service", "lag")
_COUNTS: Final = ("sent", "acked", "rejected", "indeterminate", "shed", "never")
_LATER_COUNTS: Final = ("unconnected", "own_limit")
"""Of the rejected. A file of before they were told apart has none of them."""


class HistogramError(ValueError):
    """No file of histograms, or one that does not add up."""


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows that were due in one interval."""

    rows: NDArray[np.void]
    t0_ns: int
    closed_ns: int  # when the file was: until then, what is still open was waited for. 0: never in good order

    def silences(self) -> dict[str, tuple[int, int, int | None]]:
        """Of what has no answer, by kind: how many, when the first was sent and the last given up, in ns after the load began."""
        outcome, error, is_sent = self.rows["outcome"], self.rows["error"], self.rows["sent_ns"] != 0
        is_open = (outcome == Outcome.OPEN) | (self.rows["done_ns"] == 0)
        no_answer = is_sent & ((outcome == Outcome.OPEN) | (outcome == Outcome.IND))
        was_closed = ~is_open & np.isin(error, (RequestError.RESET, RequestError.CLOSED_EARLY))
        found: dict[str, tuple[int, int, int | None]] = {}
        for kind, chosen in (
            ("silent", no_answer & ~was_closed),
            ("closed", no_answer & was_closed),
            ("unconnected", is_sent & (outcome == Outcome.REJ) & ~is_refused(outcome, error)),
        ):
            if not chosen.any():
                continue
            ends = np.where(is_open, np.uint64(self.closed_ns), self.rows["done_ns"])[chosen]
            until_ns = None if (ends == 0).any() else int(ends.max()) - self.t0_ns
            found[kind] = int(np.count_nonzero(chosen)), int(self.rows["sent_ns"][chosen].min()) - self.t0_ns, until_ns
        return found

    def counts(self) -> dict[str, int]:
        outcome, sent = self.rows["outcome"], self.rows["sent_ns"] != 0
        acked = int(np.count_nonzero(outcome == Outcome.ACK))
        rejected = int(np.count_nonzero((outcome == Outcome.REJ) & sent))
        n_sent = int(np.count_nonzero(sent))
        unconnected = rejected - int(np.count_nonzero(is_refused(outcome, self.rows["error"]) & sent))
        return {
            "sent": n_sent,
            "acked": acked,
            "rejected": rejected,
            "indeterminate": n_sent - acked - rejected,
            "shed": int(np.count_nonzero(~sent)),
            # Without a full answer, and not refused: "at least this long", which no bucket can say.
            "never": n_sent - acked - rejected + unconnected,
            "unconnected": unconnected,
            "own_limit": int(np.count_nonzero((self.rows["error"] == RequestError.OWN_LIMIT) & sent)),
        }

    def values_ns(self, kind: str) -> NDArray[np.int64]:
        due, sent, done = (self.rows[name].astype(np.int64) for name in ("due_ns", "sent_ns", "done_ns"))
        if kind == "lag":
            lag: NDArray[np.int64] = (sent - due)[sent != 0]
            return lag
        acked = self.rows["outcome"] == Outcome.ACK
        took: NDArray[np.int64] = (done - (sent if kind == "service" else due))[acked]
        return took


def count_rows(rows: Path, to: Path, *, t0_ns: int, warm_up_s: float, process: int) -> None:
    """Writes the histograms of a requests file, whose clock `t0_ns` is of. The last second is as long as there were requests."""
    file_of_rows = read_rows(rows)
    found = np.asarray(file_of_rows.rows)
    order = np.argsort(found["due_ns"], kind="stable")
    found = found[order] if np.any(order[1:] < order[:-1]) else found
    after_ns = found["due_ns"].astype(np.int64) - t0_ns
    last_s = int(after_ns[-1] // 1_000_000_000) + 1 if len(found) else 0
    # The warm-up is left out of the figures: an interval must not reach over its end.
    edges_s = sorted({float(second) for second in range(last_s + 1)} | ({warm_up_s} if 0 < warm_up_s < last_s else set()))
    head = {
        "silences": True,
        "version": VERSION,
        "process": process,
        "unit": "ns",
        "lowest": LOWEST_NS,
        "highest": HIGHEST_NS,
        "digits": DIGITS,
    }
    with to.open("x", encoding="ascii") as file:
        file.write(json.dumps({**head, "warm_up_s": warm_up_s, "seconds": max(len(edges_s) - 1, 0)}) + "\n")
        limits = np.searchsorted(after_ns, [round(edge * 1e9) for edge in edges_s])
        for number in range(len(edges_s) - 1):
            part = _Part(found[limits[number] : limits[number + 1]], t0_ns, file_of_rows.closed_ns)
            said = {"from_s": edges_s[number], "to_s": edges_s[number + 1], **_line(part), "silences": part.silences()}
            file.write(json.dumps(said) + "\n")
        file.write(json.dumps({"whole": True, **_line(_Part(found, t0_ns, file_of_rows.closed_ns))}) + "\n")


def read_counted(path: Path, warm_up_s: float) -> CountedLoad:
    """What is known of the requests of one load process. Raises HistogramError if the file is none, or is damaged."""
    try:
        head, *lines = [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]
        if head.get("version") != VERSION:
            msg = f"{path.name} is of version {head.get('version')!r}; this afterload reads version {VERSION}"
            raise HistogramError(msg)
        *seconds, whole = lines
        if whole.get("whole") is not True or len(seconds) != head["seconds"]:
            msg = f"{path.name} is cut off: {len(seconds)} of {head['seconds']} intervals"
            raise HistogramError(msg)
        counts = (*_COUNTS, *(name for name in _LATER_COUNTS if name in whole))
        total = {name: sum(each[name] for each in seconds) for name in counts}
        if total != {name: whole[name] for name in counts} or any(_added(seconds, kind) != whole[kind] for kind in _KINDS):
            msg = f"{path.name} does not add up: its seconds are not the whole"
            raise HistogramError(msg)
        silences = [Silence(kind, *said) for each in seconds for kind, said in each.get("silences", {}).items()]
        if "silences" in head and sum(each.n for each in silences) != total["indeterminate"] + total["unconnected"]:
            msg = f"{path.name} does not add up: it does not say of all requests without an answer when they were sent"
            raise HistogramError(msg)
        measured = [each for each in seconds if each["from_s"] >= min(warm_up_s, head["warm_up_s"])]
        return CountedLoad(
            process=head["process"],
            **{name: number for name, number in total.items() if name != "never"},
            measured=sum(each["sent"] for each in measured),
            measured_rejected=sum(each["rejected"] - each.get("unconnected", 0) for each in measured),
            measured_shed=sum(each["shed"] for each in measured),
            silences=silences,
            response=_counted(measured, "response"),
            answered=_counted(measured, "answered"),
            service=_counted(measured, "service"),
            lag=_counted(measured, "lag"),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, HistogramError):
            raise
        msg = f"{path.name} is no file of histograms: {type(error).__name__}: {error}"
        raise HistogramError(msg) from error


def _line(part: _Part) -> dict[str, Any]:
    said: dict[str, Any] = part.counts()
    for kind in _KINDS:
        values = part.values_ns(kind)
        said[kind] = _encoded(values)
        said[f"{kind}_max_ns"] = int(values.max(initial=0))
    return said


def _histogram() -> Any:
    return HdrHistogram(LOWEST_NS, HIGHEST_NS, DIGITS)


def _encoded(values_ns: NDArray[np.int64]) -> str:
    histogram = _histogram()
    for value, count in zip(*_buckets(values_ns), strict=True):
        histogram.record_value(int(value), int(count))
    return str(histogram.encode().decode("ascii"))


def _buckets(values_ns: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The lowest value of each bucket that is not empty, and its count. What is longer than an hour is counted as an hour."""
    values = np.clip(values_ns, 0, HIGHEST_NS)
    # The exponent of v is the number of its bits, exact below 2**53.
    shift = np.maximum(np.frexp(values.astype(np.float64))[1] - _BITS, 0)
    lowest, counts = np.unique((values >> shift) << shift, return_counts=True)
    return lowest, counts.astype(np.int64)


def _added(lines: list[dict[str, Any]], kind: str) -> str:
    histogram = _histogram()
    for each in lines:
        histogram.decode_and_add(each[kind])
    return str(histogram.encode().decode("ascii"))


def _counted(lines: list[dict[str, Any]], kind: str) -> Counted:
    histogram = _histogram()
    for each in lines:
        histogram.decode_and_add(each[kind])
    pairs = list(_recorded(histogram))
    never = sum(each["never"] for each in lines) if kind in {"response", "service"} else 0
    # Of the last bucket the largest value itself is known.
    longest = max((each[f"{kind}_max_ns"] for each in lines), default=0)
    values = np.array([min(value, longest) for value, _ in pairs], dtype=np.int64)
    return Counted(values_ns=values, counts=np.array([count for _, count in pairs], dtype=np.int64), n_never=never)


def _recorded(histogram: Any) -> Iterator[tuple[int, int]]:
    """The highest value of each bucket that is not empty, as HDR histograms say it of a percentile, and its count."""
    for item in histogram.get_recorded_iterator():
        yield int(histogram.get_highest_equivalent_value(item.value_iterated_to)), int(item.count_at_value_iterated_to)
