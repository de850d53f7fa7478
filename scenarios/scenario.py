"""What a scenario consists of, and how its settings are read."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from fastapi import FastAPI
from pydantic import BaseModel

from server import EffectRows

__all__ = ["BadSetting", "Plan", "Request", "Scenario", "Setting", "TaskKind", "World", "milliseconds"]


class TaskKind(StrEnum):
    """How the background work is written: the comparison that people ask for."""

    SYNC = "sync"  # a `def` task with a blocking client
    ASYNC = "async"  # an `async def` task with an async client
    BLOCKING = "blocking"  # an `async def` task that calls the blocking client: the classic mistake
    INLINE = "inline"  # no task: the work is done before answering


class BadSetting(ValueError):
    """A setting that does not exist, or a value that is not allowed."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing about a scenario that can be set, with `--set name=value`."""

    name: str
    default: str
    help: str
    low_ms: float = 0.0
    high_ms: float = 600_000.0


class Request(BaseModel):
    """One request that the client may send. `{op}` in path and body becomes the operation id."""

    name: str
    method: str
    path: str
    headers: dict[str, str] = {}
    body: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does when nothing else is asked for: it should make the scenario's point."""

    rate_per_s: float
    duration_s: float
    pool: int
    faults: tuple[str, ...]


class World(Protocol):
    """The servers that the tasks talk to. Each effect is written down before it is acknowledged."""

    def addresses(self) -> dict[str, str]:
        """Where they listen, as host:port, by name."""

    async def close(self) -> None:
        """Finishes what is under way and stops."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario."""

    name: str
    summary: str
    effect: str  # what an effect is called, in the plural
    plan: Plan
    settings: tuple[Setting, ...]
    traffic: Callable[[int], list[Request]]  # seed -> what the client picks from
    app: Callable[[type[FastAPI], TaskKind, Mapping[str, str], Mapping[str, float]], FastAPI]  # class, kind, world, settings
    world: Callable[[EffectRows, Mapping[str, float]], Awaitable[World]]
    tasks_per_request: int = 1
    effects_per_request: int = 1
    kinds: tuple[TaskKind, ...] = field(default=tuple(TaskKind))

    def resolve(self, given: Mapping[str, str]) -> dict[str, float]:
        """All settings in milliseconds. Raises BadSetting naming the setting, what was given and what is allowed."""
        known = {setting.name: setting for setting in self.settings}
        for name in given:
            if name not in known:
                msg = f"scenario {self.name!r} has no setting {name!r}; it has {', '.join(known) or 'none'}"
                raise BadSetting(msg)
        return {name: _checked(setting, given.get(name, setting.default)) for name, setting in known.items()}

    def describe(self, kind: TaskKind, given: Mapping[str, str], seed: int) -> dict[str, Any]:
        """Everything that the harness must know, as JSON."""
        has_tasks = kind is not TaskKind.INLINE
        return {
            "name": self.name,
            "summary": self.summary,
            "effect": self.effect,
            "kinds": [str(each) for each in self.kinds],
            "plan": {
                "rate_per_s": self.plan.rate_per_s,
                "duration_s": self.plan.duration_s,
                "pool": self.plan.pool,
                "faults": list(self.plan.faults),
            },
            "settings_ms": self.resolve(given),
            "expects": {
                "tasks_per_request": self.tasks_per_request if has_tasks else 0,
                "effects_per_request": self.effects_per_request,
            },
            "traffic": [request.model_dump() for request in self.traffic(seed)],
        }


_UNITS_MS = {"ms": 1.0, "s": 1000.0, "us": 0.001, "m": 60_000.0}


def milliseconds(text: str) -> float:
    """A duration such as `200ms`, `1.5s`, `2m` in ms. Raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(us|ms|s|m)", text.strip())
    if not found:
        msg = f"{text!r} is no duration: write a number and a unit (us, ms, s, m), e.g., 200ms"
        raise ValueError(msg)
    return float(found[1]) * _UNITS_MS[found[2]]


def _checked(setting: Setting, text: str) -> float:
    try:
        value = milliseconds(text)
    except ValueError as error:
        msg = f"setting {setting.name}: {error}"
        raise BadSetting(msg) from None
    if not setting.low_ms <= value <= setting.high_ms:
        msg = f"setting {setting.name} is {text}; allowed is {setting.low_ms:g}ms to {setting.high_ms:g}ms"
        raise BadSetting(msg)
    return value
