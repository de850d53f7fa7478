"""report.html: one file that needs no network and no other file; whatever a user, a server or a log may have said is escaped.

The page carries a Content-Security-Policy that names its own style and scripts by their hash: nothing else in it can run, and
nothing can be loaded or sent.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Final

import tomli_w
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.report.figures import figure, in_words
from harness.report.story import Story, tell
from harness.report.sums import sums
from harness.schema import Summary
from harness.slotext import slo_heading, slo_lines
from harness.summary import Judged
from harness.text import headline
from harness.wording import at_s, counted, duration_ms, duration_s

__all__ = ["page"]

_FOLDER: Final = Path(__file__).parent
_SCRIPTS: Final = ("uplot/uPlot.iife.js", "page/draw.js", "page/panels.js", "page/heat.js", "page/page.js")
_STYLES: Final = ("uplot/uPlot.min.css", "page/page.css")


def page(judged: Judged, *, name: str, version: str) -> str:
    """The whole page. `name`: of the run, as its directory is called; `version`: of afterload."""
    story = tell(judged)
    script, style = _read(_SCRIPTS), _read(_STYLES)
    values = judged.summary.model_dump(mode="json")
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {"ms": duration_ms, "s": duration_s, "at": at_s, "words": in_words}
    environment.globals |= {"counted": counted, "fig": partial(figure, values)}
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
        data=_embedded(story),
        plan_text=tomli_w.dumps({key: value for key, value in judged.summary.plan.items() if value is not None}),
        script=Markup(script),  # noqa: S704 - our own files
        style=Markup(style),  # noqa: S704
        policy=_policy(script, style),
    )


def _policy(script: str, style: str) -> str:
    allowed = f"script-src '{_hash(script)}'; style-src '{_hash(style)}'"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _symbol(summary: Summary) -> str:
    if summary.verdict == "INCONCLUSIVE":
        return "▲"
    return "✖" if summary.tasks.broken_promises or summary.verdict == "FAIL" else "✔"


def _embedded(story: Story) -> Markup:
    """JSON that cannot end the element that it is in, nor begin a comment in it."""
    text = json.dumps(story.data(), separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704


def _read(names: tuple[str, ...]) -> str:
    return "\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in names)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
