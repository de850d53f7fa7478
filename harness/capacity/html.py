"""capacity.html: a search for people: what happens at each rate, measured and predicted. One file that loads nothing."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import tomli_w
from markupsafe import Markup

from harness.capacity.schema import Capacity, Configuration
from harness.capacity.words import interval, rate_of, stage_in_words
from harness.report.sealed import REPORT, embedded, policy, read_parts, templates
from harness.wording import counted, duration_ms

__all__ = ["page"]

_FOLDER: Final = Path(__file__).parent / "page"
_SCRIPTS: Final = (REPORT / "uplot/uPlot.iife.js", _FOLDER / "capacity.js")
_STYLES: Final = (REPORT / "uplot/uPlot.min.css", REPORT / "page/page.css", _FOLDER / "capacity.css")

_CLASSES: Final = {
    "holds": ("good", "✔"),
    "seems to hold": ("good", "✔"),
    "seems not to": ("bad", "✖"),
    "does not hold": ("bad", "✖"),
    "not sent": ("unsure", "▲"),
    "not settled": ("unsure", "▲"),
    "not tried": ("", "·"),
}


def page(found: Capacity, folders: list[str]) -> str:
    """The whole page. `folders`: where the runs of each configuration are, from the page."""
    script, style = read_parts(_SCRIPTS), read_parts(_STYLES)
    return (
        templates(_FOLDER)
        .get_template("capacity.html.j2")
        .render(
            found=found,
            classes=_CLASSES,
            version=metadata.version("afterload"),
            interval=interval,
            rate_of=rate_of,
            ms=lambda value: duration_ms(value, "–"),
            stage_in_words=stage_in_words,
            counted=counted,
            link=lambda number, run: quote(f"{folders[number]}/{run}/report.html".removeprefix("./")),
            plan=lambda values: tomli_w.dumps({key: value for key, value in values.items() if value is not None}),
            embedded=embedded([_data(each) for each in found.configurations]),
            script=Markup(script),  # noqa: S704 - our own files
            style=Markup(style),  # noqa: S704
            policy=policy(script, style),
        )
    )


def _data(each: Configuration) -> dict[str, Any]:
    """What the charts draw. Rates that were measured and those of the prediction are put on one axis."""
    curve = [point for point in each.curve if point.standing != "not sent"]
    # Without a chance to end, what is predicted for a rate is no line.
    predicted = [point for point in (each.prediction.curve if each.prediction else ()) if point.done_p95_ms is not None]
    rates = sorted({point.rate for point in curve} | {point.rate for point in predicted})
    measured = {point.rate: point for point in curve}
    expected = {point.rate: point for point in predicted}

    def of(points: dict[float, Any], name: str) -> list[float | None]:
        return [getattr(points[rate], name) if rate in points else None for rate in rates]

    return {
        "rates": rates,
        "low": each.answer.low,
        "high": each.answer.high,
        "found": each.answer.found,
        "response": of(measured, "response_p99_ms"),
        "done": of(measured, "done_p95_ms"),
        "done_predicted": of(expected, "done_p95_ms"),
        "growth": of(measured, "growth_per_s"),
        "growth_low": of(measured, "growth_low"),
        "growth_high": of(measured, "growth_high"),
        "at_kill": of(measured, "at_kill"),
        "lost": of(measured, "lost"),
        "pending_predicted": of(expected, "pending"),
    }
