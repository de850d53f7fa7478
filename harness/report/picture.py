"""The story in one picture, as PNG or SVG: for a README, a ticket, a chat. Needs matplotlib (extra: picture)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from numpy.typing import NDArray

from harness.headline import headline
from harness.report.story import Story, tell
from harness.summary import Judged
from harness.wording import duration_ms

__all__ = ["draw"]

CLIENT, WORK, BAD, GOOD, FAINT, GRID, BUSY = "#0067a5", "#b85c00", "#b83b00", "#00704f", "#5a636d", "#e7eaee", "#5b6770"
DOTS_PER_INCH = 130
NEVER_DONE = 0.05
"""As p95 has it: more than this share of the tasks that were due in a bin will never be done."""

_MARKS: Final = {
    "fault": (BAD, "✖ ", False),
    "death": (BAD, "✖ ", False),
    "ready": (GOOD, "▲ ", True),
    "hand": (FAINT, "◆ ", True),
}
"""By kind: colour, sign, and whether its line is thin."""

Figures = NDArray[np.float64]


def draw(judged: Judged, path: Path) -> None:
    """Writes the picture to `path`; its suffix says in which format. Raises OSError if it can't."""
    story = tell(judged)
    lines = story.lines()
    # Not pyplot: that would look for a screen, and keep every figure.
    with mpl.rc_context({"font.size": 9, "svg.hashsalt": "afterload", "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(10, 6.2), layout="constrained")
        top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=(3.2, 1.4, 1))
        _scissors(top, story, lines)
        _backlog(middle, lines, judged)
        _busy(bottom, lines, judged)
        for axes in (top, middle, bottom):
            _frame(axes, story)
        _words(top, story)
        bottom.set_xlabel("seconds since load start")
        bottom.set_xlim(0, max(story.span_s, story.bin_s))
        colour = BAD if judged.summary.tasks.broken_promises else "black"
        figure.suptitle(
            _plain(headline(judged.summary)), x=0.01, ha="left", fontsize=11.5, fontweight="bold", color=colour, wrap=True
        )
        figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Date": None} if path.suffix == ".svg" else None)


def _scissors(axes: Axes, story: Story, lines: dict[str, Figures]) -> None:
    t_s, response, done = lines["t_s"], lines["response_p95_ms"], lines["done_p95_ms"]
    values = np.concatenate([response, done])
    values = values[np.isfinite(values) & (values > 0)]
    low = 10 ** math.floor(math.log10(values.min())) if len(values) else 1.0
    high = 10 ** math.ceil(math.log10(values.max())) if len(values) else 10.0
    high = max(high, low * 10)
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.fill_between(t_s, response, done, color=WORK, alpha=0.17, linewidth=0, label="hidden wait")
    lost, total = lines["undone"], lines["undone"] + lines["of_done"]
    is_lost = np.nan_to_num(lost) > NEVER_DONE * np.nan_to_num(total)
    if is_lost.any():
        floor = np.where(np.isfinite(response), response, high)
        width = story.bin_s
        axes.bar(
            t_s[is_lost], high - floor[is_lost], width, floor[is_lost], color=BAD, alpha=0.22, linewidth=0, label="never done"
        )
    axes.plot(t_s, done, color=WORK, linewidth=2.2, marker=".", markersize=3, label="work is done, p95")
    axes.plot(t_s, response, color=CLIENT, linewidth=1.5, marker=".", markersize=2, label="client is answered, p95")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: duration_ms(value)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=5, frameon=False, fontsize=8.5)


def _backlog(axes: Axes, lines: dict[str, Figures], judged: Judged) -> None:
    axes.fill_between(lines["t_s"], lines["backlog_max"], color=WORK, alpha=0.38, linewidth=1.2)
    axes.set_ylim(0, max(judged.summary.tasks.backlog_max * 1.08, 1))
    axes.set_ylabel("backlog\n(tasks)")


def _busy(axes: Axes, lines: dict[str, Figures], judged: Judged) -> None:
    axes.fill_between(lines["t_s"], lines["busy_mean"], color=BUSY, alpha=0.3, linewidth=1.2)
    axes.set_ylabel("tasks\nrunning")
    highest = float(np.nanmax(lines["busy_mean"], initial=1.0))
    if (pool := judged.summary.pool) is not None:
        axes.axhline(pool.size, color="black", linewidth=1.2, linestyle=(0, (5, 3)))
        axes.annotate(
            f"{pool.size} threads", (0.995, pool.size), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8
        )
        highest = max(highest, pool.size)
    axes.set_ylim(0, highest * 1.3)


def _frame(axes: Axes, story: Story) -> None:
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    if story.warm_up_s > 0:
        axes.axvspan(0, story.warm_up_s, color=FAINT, alpha=0.09, linewidth=0)
    if story.span_s > story.load_s:
        axes.axvspan(story.load_s, story.span_s, color=FAINT, alpha=0.09, linewidth=0)
    for gap in story.gaps:
        axes.axvspan(gap.from_s, gap.until_s, facecolor="none", edgecolor="#9aa4ae", hatch="/////", linewidth=0)
    for mark in story.marks:
        colour, _, is_quiet = _MARKS[mark.kind]
        axes.axvline(mark.at_s, color=colour, linewidth=1.0 if is_quiet else 1.8, linestyle=":" if is_quiet else "-")


def _words(axes: Axes, story: Story) -> None:
    """What happened, above the chart; a label that has no room in two rows is left out, its line is there."""
    ends = [-math.inf, -math.inf]
    for mark in sorted(story.marks, key=lambda mark: (_MARKS[mark.kind][2], mark.at_s)):
        width = len(mark.label) * story.span_s * 0.0085
        row = next((row for row, end in enumerate(ends) if mark.at_s > end), None)
        if row is None:
            continue
        ends[row] = mark.at_s + width
        colour, sign, _ = _MARKS[mark.kind]
        label = _plain(sign + mark.label)
        axes.annotate(
            label,
            (mark.at_s, 1),
            (1, 3 + row * 11),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            color=colour,
            fontsize=8.5,
            va="bottom",
        )


def _plain(text: str) -> str:
    """A dollar sign would begin a formula."""
    return text.replace("$", r"\$")
