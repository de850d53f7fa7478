"""The generated parts of docs/dashboard.md: the keys of each screen and what each figure is, as the screen itself has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from textual.binding import Binding
from textual.keys import format_key

from dashboard.app import Dashboard
from dashboard.metrics import METRICS
from dashboard.registry import screens

__all__ = ["dashboard_text"]

_KEYS: Final = re.compile(r"(<!-- keys -->)\n.*?(<!-- end of keys -->)", re.DOTALL)
_METRICS: Final = re.compile(r"(<!-- metrics -->)\n.*?(<!-- end of metrics -->)", re.DOTALL)


def dashboard_text(text: str) -> str:
    """The text of docs/dashboard.md with both put between their marks."""
    text = _KEYS.sub(lambda found: f"{found[1]}\n{''.join(_keys())}{found[2]}", text)
    return _METRICS.sub(lambda found: f"{found[1]}\n{''.join(_metrics())}{found[2]}", text)


def _keys() -> Iterator[str]:
    everywhere = [each for each in Dashboard.BINDINGS if isinstance(each, Binding)]
    yield from _table("Everywhere", everywhere)
    known = {each.id for each in everywhere}
    for title, screen in screens().items():
        own = [each for each in screen.BINDINGS if isinstance(each, Binding) and each.id not in known]
        yield from _table(title, own)


def _table(title: str, bindings: Iterable[Binding]) -> Iterator[str]:
    yield f"**{title}**\n\n| key | what it does | id |\n|---|---|---|\n"
    for each in bindings:
        keys = " ".join(f"`{_shown(key.strip())}`" for key in each.key.split(","))
        yield f"| {keys} | {each.tooltip or each.description} | `{each.id}` |\n"
    yield "\n"


def _shown(key: str) -> str:
    return key if len(key) > 1 and "+" in key else format_key(key)


def _metrics() -> Iterator[str]:
    for metric in METRICS:
        yield f"**{metric.name}.** {metric.what} *Measured:* {metric.how} *Normal:* {metric.normal} *Try:* {metric.tips}\n\n"
