"""The ways in which a plan can say when requests are sent, of which it has one. Values in, values out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from harness.load.stages import parse_stages

__all__ = ["WAYS", "check", "fill_in", "given_ways", "override"]

_USERS: Final = "users wait for answers"

WAYS: Final[Mapping[str, str]] = {
    "rate": "rate starts requests whether or not the last ones were answered",
    "stages": "stages start requests at rates that change over time",
    "replay": "a replay starts requests at the times in its file",
    "users": _USERS,
    "locustfile": _USERS,
}
"""What each does, in words. `users` and a `locustfile` are one way, the closed model: they may come together."""

_BELONGS_TO: Final[Mapping[str, tuple[str, ...]]] = {
    "replay": ("replay_field", "replay_speed"),
    "users": ("spawn_rate", "think_s", "think_spread"),
    "rate": (),
    "stages": (),
    "locustfile": (),
}
_LENGTH_FOLLOWS: Final = frozenset({"stages", "replay"})


def given_ways(values: Mapping[str, Any]) -> list[str]:
    """Which ways are given."""
    return [name for name in WAYS if values.get(name) is not None]


def check(values: Mapping[str, Any]) -> None:
    """Raises ValueError if what is given does not go together."""
    ways = given_ways(values)
    told = list(dict.fromkeys(WAYS[name] for name in ways))
    if len(told) > 1:
        msg = f"{', '.join(told)}: give one of the {'two' if len(told) == 2 else len(told)}"
        raise ValueError(msg)
    if not ways:
        msg = "rate is missing: how many requests to start per second (or stages, a replay, or users)"
        raise ValueError(msg)
    for name in (name for name in _BELONGS_TO["users"] if values.get(name) is not None and "users" not in ways):
        msg = f"{name} is {_shown(values[name])}, which says how users go on, and there are none: say with users how many"
        raise ValueError(msg)
    for name in (name for name in _BELONGS_TO["replay"] if values.get(name) is not None and "replay" not in ways):
        msg = f"{name} is {_shown(values[name])}, which is about a replay, and there is none: say with replay which file"
        raise ValueError(msg)
    if values.get("think_spread") is not None and values.get("think_s") is None:
        msg = f"think_spread is {values['think_spread']!r}, and there is no think_s: say how long users think on average"
        raise ValueError(msg)
    if values.get("arrivals") == "poisson" and not {"rate", "stages", "replay"} & set(ways):
        msg = "arrivals is 'poisson', which spreads requests that start on their own; users start one when the last was answered"
        raise ValueError(msg)


def fill_in(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with stages as one text, and the length that follows from them."""
    filled = dict(values)
    stages = filled.get("stages")
    if isinstance(stages, (list, tuple)) and all(isinstance(each, str) for each in stages):
        filled["stages"] = stages = ", ".join(stages)
    if isinstance(stages, str) and filled.get("for_s") is None:
        try:
            filled["for_s"] = parse_stages(stages).duration_s
        except ValueError:
            filled["for_s"] = 1.0  # The stages themselves are told to be wrong, and that is enough.
    return filled


def override(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A plan file's values with the options that were given. Another way in the options replaces that of the file."""
    kept = dict(values)
    new = given_ways(given)
    old = given_ways(values)
    for name in old if new else ():
        if WAYS[name] not in {WAYS[other] for other in new}:
            for each in (name, *_BELONGS_TO[name]):
                kept.pop(each, None)
    if (new and _LENGTH_FOLLOWS & {*new, *old}) or ("replay_speed" in given and "replay" in old):
        kept.pop("for_s", None)
    return {**kept, **given}


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else repr(value)
