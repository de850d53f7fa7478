"""How a plan file and options become one plan: what is given as an option wins. Pure functions on plain values.

A list that was given replaces the one of the file (`none`: an empty one), `--set` changes single settings, and an option that
excludes keys of the file takes their place: `--users 20` over a file with `rate = 100` asks for users.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from harness.load import ways

__all__ = ["merged"]

_REPLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "locustfile": ("requests", "openapi", "openapi_only", "openapi_exclude", "openapi_headers", "think_s", "think_spread"),
    "requests": ("locustfile",),
    "openapi": ("locustfile",),
}
"""What an option takes the place of, where the file has it. When requests are sent is another matter: harness/load/ways.py."""

_ENGINES_OWN: Final[Mapping[str, Any]] = {"order": "sequential", "on_error": "continue", "loop": "auto"}
"""What only some engines know. The plan of a run names them all, and what was only the default must not forbid another engine."""


def merged(of_file: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the file with those of the options put over them."""
    values = ways.override(of_file, given)
    for name in given:
        for other in _REPLACES.get(name, ()):
            if other not in given:
                values.pop(other, None)
    if "engine" in given and given["engine"] != of_file.get("engine", "rust"):
        for name, default in _ENGINES_OWN.items():
            if name not in given and values.get(name) == default:
                del values[name]
    if isinstance(of_file.get("settings"), Mapping) and "settings" in given:
        values["settings"] = {**of_file["settings"], **given["settings"]}
    return values
