"""comparison.html: the comparison for people, with the lines of all configurations over each other. One file that loads
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tomli_w

from harness.compare.judging import drift_words, values_of
from harness.compare.quantities import QUANTITIES
from harness.compare.record import Comparison, ContrastRecord, FigureRecord, RunRecord
from harness.compare.text import about, effect_of, verdict_word
from harness.compare.words import change, interval, value_of
from harness.report.sealed import REPORT, embedded, policy, read_parts, templates
from harness.wording import counted

__all__ = ["page"]

_FOLDER: Final = Path(__file__).parent / "page"
_SCRIPTS: Final = (REPORT / "uplot/uPlot.iife.js", REPORT / "page/draw.js", _FOLDER / "compare.js", REPORT / "page/page.js")
_STYLES: Final = (REPORT / "uplot/uPlot.min.css", REPORT / "page/page.css", _FOLDER / "compare.css")
_PANELS: Final = (
    ("response_p95_ms", "What the client waits", "p95, logarithmic"),
    (
        "done_p95_ms",
        "When the work is done",
        "p95, by when the request was due; a gap where more than a twentieth was never done",
    ),
    ("backlog", "Backlog", "tasks accepted and not started, highest of each bin"),
    ("busy", "Tasks running", "mean of each bin"),
)
_HALF: Final = 110.0  # pixels from the middle of a forest plot to its edge
_EDGE: Final = math.log(2.0)  # what the edge stands for


@dataclass(frozen=True, slots=True)
class Mark:
    """Where an interval is drawn, in pixels."""

    at: float
    low: float | None
    high: float | None
    same_from: float
    same_width: float
    is_beyond: bool  # the estimate is off the scale
    arrow: str


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of a table."""

    figure: FigureRecord
    base: str
    other: str
    change: str
    interval: str
    word: str
    kind: str
    p: str
    mark: Mark | None


def page(comparison: Comparison, *, version: str, has_reports: bool = True) -> str:
    """The whole page. `has_reports`: the runs lie beside it, with their own reports."""
    script, style = read_parts(_SCRIPTS), read_parts(_STYLES)
    data = _data(comparison)
    return (
        templates(_FOLDER)
        .get_template("compare.html.j2")
        .render(
            comparison=comparison,
            version=version,
            about=about(comparison),
            notes=[
                *comparison.notes,
                *(comparison.stored.notes if comparison.stored else ()),
                *(drift_words(each, comparison.baseline) for each in comparison.drifts),
            ],
            failed=any(gate.holds is False for gate in comparison.gates),
            labels=[each.label for each in comparison.configurations],
            quantities=[each for name, each in QUANTITIES.items() if any(_is_known(run, name) for run in comparison.runs)],
            panels=_PANELS,
            rows=lambda contrast: list(_rows(contrast)),
            value=lambda run, name: value_of(values_of(run, name), name),
            plan=lambda values: tomli_w.dumps({key: value for key, value in values.items() if value is not None}),
            counted=counted,
            data=data,
            has_reports=has_reports and comparison.kind == "blocks",
            embedded=embedded(data),
            script=_trusted(script),
            style=_trusted(style),
            policy=policy(script, style),
        )
    )


def _rows(contrast: ContrastRecord) -> Iterator[Row]:
    for figure in contrast.figures:
        if figure.decision == "none":
            continue
        effect = effect_of(figure)
        yield Row(
            figure=figure,
            base=value_of(effect.base, figure.id),
            other=value_of(effect.other, figure.id),
            change=change(effect),
            interval=interval(effect),
            word=verdict_word(figure),
            kind=figure.direction or figure.decision,
            p="–" if figure.p is None else f"{figure.p:.3f}" if figure.p >= 0.001 else "< 0.001",
            mark=_mark(figure),
        )


def _mark(figure: FigureRecord) -> Mark | None:
    if figure.scale != "ratio" or not figure.estimate or figure.matters is None:
        return None
    same = _place(1 + figure.matters) - _HALF
    at = _place(figure.estimate)
    is_beyond = not 0 < at < 2 * _HALF
    tip, back = (2 * _HALF, 2 * _HALF - 8) if at > _HALF else (0.0, 8.0)
    return Mark(
        at=at,
        low=None if figure.low is None else _place(figure.low),
        high=None if figure.high is None else _place(figure.high),
        same_from=round(_HALF - same, 1),
        same_width=round(2 * same, 1),
        is_beyond=is_beyond,
        arrow=f"M {tip} 9 L {back} 4 L {back} 14 Z",
    )


def _place(ratio: float) -> float:
    """In pixels, kept inside the drawing."""
    at = math.log(ratio) / _EDGE if ratio > 0 else -1.0
    return round(_HALF + _HALF * min(max(at, -1.0), 1.0), 1)


def _data(comparison: Comparison) -> Mapping[str, Any]:
    """What draw.js takes for the story of a run, with a set of lines for each configuration."""
    curves = comparison.curves
    bin_s = curves[0].bin_s if curves else 1.0
    n_bins = max((len(line) for each in curves for line in each.lines.values()), default=0)
    plan = comparison.configurations[0].plan
    load_s = float(plan.get("for_s") or n_bins * bin_s)
    middles = [round((number + 0.5) * bin_s, 6) for number in range(n_bins)]
    return {
        "bin_s": bin_s,
        "span_s": load_s,
        "load_s": load_s,
        "warm_up_s": float(plan.get("warm_up_s") or 0.0),
        "gaps": [],
        "marks": list(_marks(comparison)),
        "lines": {"t_s": middles, "due": [0] * n_bins},
        "configurations": [
            {
                "label": configuration.label,
                "lines": {name: [*line, *[None] * (n_bins - len(line))] for name, line in each.lines.items()}
                if each.bin_s == bin_s
                else {},
            }
            for configuration, each in zip(comparison.configurations, curves, strict=True)
        ],
    }


def _marks(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """Faults that all configurations have, at the time at which they were planned."""
    from harness.faultsyntax import parse_fault

    plans = [set(each.plan.get("faults", ())) for each in comparison.configurations]
    for text in sorted(set.intersection(*plans)) if plans else ():
        fault = parse_fault(text)
        if fault.at_s is not None:
            yield {"at_s": fault.at_s, "kind": "fault", "label": text, "text": text}


def _is_known(run: RunRecord, name: str) -> bool:
    return name in run.never or run.values.get(name) is not None


def _trusted(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 - our own files
