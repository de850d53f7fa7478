"""report.html: one file that needs no network and no other file (harness/report/sealed.py)."""

from __future__ import annotations

from functools import partial
from typing import Final

import tomli_w
from markupsafe import Markup

from harness.headline import headline
from harness.report.figures import figure, in_words
from harness.report.sealed import REPORT, embedded, policy, read_parts, templates
from harness.report.story import tell
from harness.report.sums import sums
from harness.schema import Summary
from harness.slotext import slo_heading, slo_lines
from harness.summary import Judged
from harness.wording import at_s, counted, duration_ms, duration_s, most_busy

__all__ = ["page"]

_SCRIPTS: Final = ("uplot/uPlot.iife.js", "page/draw.js", "page/panels.js", "page/heat.js", "page/page.js")
_STYLES: Final = ("uplot/uPlot.min.css", "page/page.css")


def page(judged: Judged, *, name: str, version: str) -> str:
    """The whole page. `name`: of the run, as its directory is called; `version`: of afterload."""
    story = tell(judged)
    script, style = (read_parts(REPORT / name for name in names) for names in (_SCRIPTS, _STYLES))
    values = judged.summary.model_dump(mode="json")
    environment = templates(REPORT / "page")
    environment.filters |= {"ms": duration_ms, "s": duration_s, "at": at_s, "words": in_words}
    environment.globals |= {"counted": counted, "most_busy": most_busy, "fig": partial(figure, values)}
    return environment.get_template("page.html.j2").render(
        name=name,
        version=version,
        summary=judged.summary,
        values=values,
        headline=headline(judged.summary),
        heading=slo_heading(judged.summary),
        limits=list(slo_lines(judged.summary)),
        symbol=_symbol(judged.summary),
        sums=list(sums(judged.summary)),
        story=story,
        data=embedded(story.data()),
        plan_text=tomli_w.dumps({key: value for key, value in judged.summary.plan.items() if value is not None}),
        script=Markup(script),  # noqa: S704 - our own files
        style=Markup(style),  # noqa: S704
        policy=policy(script, style),
    )


def _symbol(summary: Summary) -> str:
    if summary.verdict == "INCONCLUSIVE":
        return "▲"
    return "✖" if summary.tasks.broken_promises or summary.verdict == "FAIL" else "✔"
