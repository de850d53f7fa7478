"""What differs between runs that are to be compared: their plans, their machines, and whether they can be trusted. Pure
functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from harness.environment import COMPARED
from harness.noise import NOISY_SHARE
from harness.schema import Summary
from harness.wording import listed, share

__all__ = ["differing_keys", "doubts_of", "labels_of", "steered_words", "unlike"]

_NO_MATTER: Final = frozenset(
    {"seed", "port", "cwd", "slos", "allow", "ready", "ready_s", "join_bind", "join_s", "drain_s", "horizon_s"}
)
"""Keys of a plan that say nothing of what was measured, or are told otherwise."""

_LOAD: Final = (
    *("rate", "users", "stages", "replay", "replay_speed", "for_s", "arrivals", "think_s", "think_spread", "spawn_rate"),
    *("warm_up_s", "faults"),
)
"""Keys that say what was done to the server; runs that differ in them differ for that reason, too."""

_THE_APP: Final = ("scenario", "command", "locustfile", "openapi", "requests")


def differing_keys(summaries: Sequence[Summary]) -> list[str]:
    """Keys of the plans that are not the same in all runs, and matter. Settings as `settings.delay`."""
    flat = [_flat(summary.plan) for summary in summaries]
    keys = dict.fromkeys(key for plan in flat for key in plan)
    return [key for key in keys if key not in _NO_MATTER and len({repr(plan.get(key)) for plan in flat}) > 1]


def labels_of(summaries: Sequence[Summary], names: Sequence[str]) -> list[str]:
    """What tells the runs apart: the keys in which they differ, else their names."""
    keys = [key for key in differing_keys(summaries) if key not in _THE_APP]
    flat = [_flat(summary.plan) for summary in summaries]
    labels = [" ".join(f"{key.removeprefix('settings.')}={_set(plan, key)}" for key in keys) for plan in flat]
    if len(set(labels)) == len(labels) and all(labels) and max(map(len, labels)) <= 60:
        return labels
    return list(names)


def unlike(summaries: Sequence[Summary]) -> str | None:
    """Why these runs cannot be compared at all; None: they can."""
    for key in _THE_APP[:2]:
        found = [_shown(summary.plan[key]) for summary in summaries if summary.plan.get(key)]
        if key == "scenario" and len(set(found)) > 1:
            return f"they are of different scenarios: {listed(list(dict.fromkeys(found)))}"
    kinds = {bool(summary.plan.get("scenario")) for summary in summaries}
    if len(kinds) > 1:
        return "some are of a scenario and some of an app of one's own"
    if len({summary.requests.model for summary in summaries}) > 1:
        return "some sent at a planned rate (open) and some from users that wait for answers (closed)"
    return None


def doubts_of(summaries: Sequence[Summary], labels: Sequence[str]) -> Iterator[str]:
    """What should be known before a difference is believed, in sentences."""
    keys = differing_keys(summaries)
    load = [key for key in keys if key in _LOAD]
    others = [key for key in keys if key not in _LOAD and key not in _THE_APP]
    if load and others:
        yield (
            f"The runs differ in {listed(others)} and in the load ({listed(load)}): what makes a difference cannot be told apart."
        )
    elif len(others) > 1:
        yield f"The runs differ in {listed(others)}: which of them makes a difference cannot be told apart."
    if not keys:
        yield "The plans of the runs are the same: what differs is chance, the code, or the machine."
    environments = [summary.environment for summary in summaries]
    if len({environment.get("hash") for environment in environments}) > 1:
        yield f"The runs were made on different machines or versions: {_what_differs(environments)}."
    commits = {str((environment.get("git") or {}).get("commit"))[:12] for environment in environments if environment.get("git")}
    if len(commits) > 1:
        yield f"The code differs: commits {listed(sorted(commits))}."
    for summary, label in zip(summaries, labels, strict=True):
        if not summary.trusted:
            yield f"{label} cannot be trusted: {summary.reasons[0] if summary.reasons else summary.verdict}"
        if words := steered_words(summary):
            yield f"{label}: {words[0].lower()}{words[1:]}"
        machine = summary.machine
        if machine is not None and machine.seen_s and (machine.noisy_s or 0) / machine.seen_s >= NOISY_SHARE:
            noisy = share((machine.noisy_s or 0) / machine.seen_s)
            yield f"Other programs were in the way of {label} for {noisy} of the time: it may be faster than it looks."


def steered_words(summary: Summary) -> str:
    """That the run was not what its plan says, as a sentence; empty: it was."""
    done = [each.text for each in summary.steered if not each.text.startswith("mark") and each.landed_s is not None]
    return f"It was steered while it went on ({listed(done)}): its plan does not say what was done." if done else ""


def _what_differs(environments: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for key in COMPARED:
        if key == "packages":
            every = [environment.get("packages") or {} for environment in environments]
            names = dict.fromkeys(name for packages in every for name in packages)
            parts += [
                f"{name} {' / '.join(str(packages.get(name, 'none')) for packages in every)}"
                for name in names
                if len({packages.get(name) for packages in every}) > 1
            ]
            continue
        values = [environment.get(key) for environment in environments]
        if len({repr(value) for value in values}) > 1:
            parts.append(f"{key} {' / '.join(map(str, values))}")
    return listed(parts) or "what exactly is not known"


def _flat(plan: Mapping[str, Any]) -> dict[str, Any]:
    settings = {f"settings.{name}": value for name, value in (plan.get("settings") or {}).items()}
    return {**{key: value for key, value in plan.items() if key != "settings"}, **settings}


def _set(plan: Mapping[str, Any], key: str) -> str:
    """What a plan says of a key; one that does not name a setting takes what the scenario has."""
    return "default" if key.startswith("settings.") and plan.get(key) is None else _shown(plan.get(key))


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "+".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
