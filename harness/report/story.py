"""What the charts of a report show: the run over time, its marks and its gaps, as plain values. Pure: no clock, no files.

The picture, the page and the table of the page are made of the same story, so they cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from harness.bins import nice_bin_s
from harness.heatmap import HeatMap, heat_map
from harness.series import SHARES, Series, bin_edges, done_or_never, series
from harness.spans import NONE_NS
from harness.summary import Judged
from harness.timeline import end_ns
from harness.wording import counted

__all__ = ["Gap", "Mark", "Story", "tell"]

MOST_BINS: Final = 360
LEAST_BINS: Final = 40
OPS_PER_BIN: Final = 12
"""With fewer requests in a bin its percentiles are noise; bins get wider instead, down to `LEAST_BINS`."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at an instant."""

    at_s: float
    kind: Literal["fault", "death", "ready", "hand"]
    label: str  # short, for the chart
    text: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Nobody answered. `until_s` is the end of the story where nobody ever did again."""

    from_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class Story:
    """The run over time."""

    bin_s: float
    span_s: float  # from load start until nothing happened any more
    load_s: float
    warm_up_s: float
    series: Series
    response: HeatMap
    done: HeatMap
    marks: tuple[Mark, ...]
    gaps: tuple[Gap, ...]

    def data(self) -> dict[str, Any]:
        """As JSON can hold it; null where there is no value."""
        lines = {name: _plain(values) for name, values in self.lines().items()}
        return {
            "bin_s": self.bin_s,
            "span_s": round(self.span_s, 6),
            "load_s": self.load_s,
            "warm_up_s": self.warm_up_s,
            "lines": lines,
            "response": _cells(self.response),
            "done": _cells(self.done),
            "marks": [{"at_s": mark.at_s, "kind": mark.kind, "label": mark.label, "text": mark.text} for mark in self.marks],
            "gaps": [[gap.from_s, gap.until_s] for gap in self.gaps],
        }

    def lines(self) -> dict[str, NDArray[np.float64]]:
        """What is drawn as lines, by name; `t_s` is the middle of each bin.

        What a server shows has no value while there is none: where a gap is so short that it falls between two bins, a point
        without values is put between them. No line is ever drawn through an outage.
        """
        found, begins = self.series, (self.series.edges_ns[:-1] - self.series.edges_ns[0]) / 1e9
        middles = begins + self.bin_s / 2
        is_gap = np.zeros(len(middles), np.bool_)
        extra = []
        for gap in self.gaps:
            inside = (middles >= gap.from_s) & (middles <= gap.until_s)
            is_gap |= inside
            if not inside.any():
                extra.append((gap.from_s + gap.until_s) / 2)
        of_server: dict[str, NDArray[Any]] = {
            **{f"response_p{_percent(share)}_ms": found.response_ms[row] for row, share in enumerate(SHARES)},
            **{f"done_p{_percent(share)}_ms": found.done_ms[row] for row, share in enumerate(SHARES)},
            "backlog_max": found.backlog_max,
            "busy_max": found.busy_max,
            "busy_mean": found.busy_mean,
        }
        if found.sampled is not None:
            of_server |= {"pool_size": found.sampled.pool_size, "loop_lag_max_ms": found.sampled.loop_lag_max_ms}
        lines = {name: np.where(is_gap | ~np.isfinite(values), math.nan, values) for name, values in of_server.items()}
        lines["never"] = np.where(np.isinf(found.response_ms[SHARES.index(0.95)]), 1.0, 0.0)
        for name in ("due", "acked", "rejected", "indeterminate", "accepted", "finished", "failed", "undone", "of_done"):
            lines[name] = getattr(found, name).astype(np.float64)
        places = np.searchsorted(middles, extra)
        lines = {name: np.insert(values, places, math.nan) for name, values in lines.items()}
        return {"t_s": np.insert(middles, places, extra), **lines}


def tell(judged: Judged) -> Story:
    """The story of a run."""
    evidence, account, summary = judged.evidence, judged.account, judged.summary
    ops, spans = account.tables.ops, judged.spans
    span_s = (end_ns(evidence, account) - evidence.load_start_ns) / 1e9
    most = min(max(len(ops.op) // OPS_PER_BIN, LEAST_BINS), MOST_BINS)
    bin_s = nice_bin_s(span_s, most)
    edges = bin_edges(evidence, account, bin_s)
    answered, finished = ~ops.refused, spans.done_ns != NONE_NS
    found = series(evidence, account, edges, spans, judged.steps)
    outages = [each for each in summary.timeline.outages if each.from_s is not None]
    return Story(
        bin_s=bin_s,
        span_s=span_s,
        load_s=summary.load_s or 0.0,
        warm_up_s=summary.warm_up_s or 0.0,
        series=replace(found, done_ms=done_or_never(found, spans)),
        response=heat_map(ops.due_ns[answered], spans.response_ns[answered], edges),
        done=heat_map(spans.due_ns[finished], spans.done_ns[finished], edges),
        marks=tuple(sorted(_marks(judged), key=lambda mark: mark.at_s)),
        gaps=tuple(Gap(each.from_s or 0.0, span_s if each.until_s is None else each.until_s) for each in outages),
    )


def _marks(judged: Judged) -> Iterator[Mark]:
    boots = judged.summary.boots
    signals = {boot.boot: boot.signal for boot in boots if boot.fault and boot.signal}
    for fault in judged.summary.faults:
        if fault.landed_s is None:
            continue
        name = signals.get(fault.boot or 0, fault.kind) if fault.ends_boot else fault.kind
        at_s, left = fault.landed_s, _left(fault.left_queued, fault.left_running)
        yield Mark(at_s, "fault", f"{name} {at_s:.1f} s", f"{name} at {at_s:.1f} s{left}")
        if fault.ended_s is not None and not fault.ends_boot:
            yield Mark(fault.ended_s, "ready", f"{name} over", f"{name} was over at {fault.ended_s:.1f} s")
    for each in judged.summary.steered:
        # What a fault by hand did is told as that of any fault.
        if each.landed_s is not None and not each.text.startswith("fault="):
            what = each.detail if each.text.startswith("mark=") else each.text
            yield Mark(each.landed_s, "hand", what, f"{what} at {each.landed_s:.1f} s, by hand")
    for boot in boots:
        if boot.signal is None and boot.died_s is not None:
            left = _left(boot.queued_at_death, boot.running_at_death)
            label = f"boot {boot.boot} died {boot.died_s:.1f} s"
            yield Mark(boot.died_s, "death", label, f"boot {boot.boot} died on its own at {boot.died_s:.1f} s{left}")
        if boot.ready_s is not None and boot.ready_s > 0:
            yield Mark(boot.ready_s, "ready", f"boot {boot.boot} up", f"boot {boot.boot} was ready at {boot.ready_s:.1f} s")


def _left(queued: int, running: int) -> str:
    """Of a boot at its death."""
    return f" with {counted(queued, 'task')} queued and {running:,} running" if queued + running else ""


def _percent(share: float) -> int:
    return round(share * 100)


def _plain(values: NDArray[np.float64]) -> Sequence[float | int | None]:
    """Six digits are more than a chart can show; whole numbers stay whole."""
    return [
        None if not math.isfinite(value) else int(value) if value.is_integer() and abs(value) < 1e15 else float(f"{value:.6g}")
        for value in values.tolist()
    ]


def _cells(heat: HeatMap) -> dict[str, Any]:
    """The cells that are not empty: bucket, bin and count, each in a list of its own."""
    buckets, bins = np.nonzero(heat.counts)
    return {
        "floors_ms": [float(f"{floor / 1e6:.6g}") for floor in heat.floors_ns.tolist()],
        "bucket": buckets.tolist(),
        "bin": bins.tolist(),
        "count": heat.counts[buckets, bins].tolist(),
        "never": heat.never.tolist() if heat.never.any() else [],
    }
