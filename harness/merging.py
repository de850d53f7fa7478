"""How a plan file and options become one plan: what is given as an option wins. Pure functions on plain values.

A list that was given replaces the one of the file (`none`: an empty one), `--set` changes single settings, and an option that
excludes keys of the file takes their place: `--users 20` over a file with `rate = 100` asks for users.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["merged"]

_OPEN: Final = ("rate", "stages", "replay")
_CLOSED: Final = ("users", "spawn_rate", "think_s", "locustfile")
_MADE_REQUESTS: Final = ("requests", "openapi", "openapi_only", "openapi_exclude", "openapi_headers")

_REPLACES: Final[Mapping[str, tuple[str, ...]]] = {
    **{name: (*_CLOSED, *(each for each in _OPEN if each != name)) for name in _OPEN},
    "users": _OPEN,
    "locustfile": (*_OPEN, *_MADE_REQUESTS, "think_s"),
    "requests": ("locustfile",),
    "openapi": ("locustfile",),
}
"""What an option takes the place of, where the file has it."""

_ENGINES_OWN: Final[Mapping[str, Any]] = {"order": "sequential", "on_error": "continue", "loop": "auto"}
"""What only some engines know. The plan of a run names them all, and what was only the default must not forbid another engine."""


def merged(of_file: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the file with those of the options put over them."""
    values = dict(of_file)
    for name in given:
        for other in _REPLACES.get(name, ()):
            values.pop(other, None)
    if "engine" in given and given["engine"] != values.get("engine", "rust"):
        for name, default in _ENGINES_OWN.items():
            if values.get(name) == default:
                del values[name]
    settings = values.get("settings")
    values.update(given)
    if isinstance(settings, Mapping) and "settings" in given:
        values["settings"] = {**settings, **given["settings"]}
    return values
