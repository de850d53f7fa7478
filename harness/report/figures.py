"""Figures of a summary as HTML: the words that people read, and the exact value and its path for whoever checks them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from markupsafe import Markup

from harness.wording import at_s, duration_ms, duration_s

__all__ = ["Form", "figure", "value_at"]

Form = Literal["count", "ms", "s", "at", "per_s", "share", "plain"]
NONE: Final = "–"


def value_at(values: Mapping[str, Any], path: str) -> Any:
    """The value at `requests.response_ms.p95` or `boots.0.pid`. Raises KeyError or IndexError if there is no such place."""
    found: Any = values
    for step in path.split("."):
        found = found[int(step)] if isinstance(found, Sequence) else found[step]
    return found


def figure(values: Mapping[str, Any], path: str, form: Form = "count", none: str = NONE) -> Markup:
    """The value at `path`, in words: `<data value="4.69" data-path="requests.response_ms.p95">4.69 ms</data>`."""
    value = value_at(values, path)
    exact = "" if value is None else value
    return Markup('<data value="{}" data-path="{}">{}</data>').format(exact, path, in_words(value, form, none))


def in_words(value: Any, form: Form, none: str = NONE) -> str:
    """A value as text; `none` where there is none."""
    if value is None:
        return none
    forms: dict[Form, Callable[[Any], str]] = {
        "count": lambda number: f"{number:,}",
        "ms": duration_ms,
        "s": duration_s,
        "at": at_s,
        "per_s": lambda rate: f"{rate:,.1f}/s",
        "share": lambda share: f"{share:.1%}",
        "plain": str,
    }
    return forms[form](value)
