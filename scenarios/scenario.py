"""What a scenario consists of: an app, its traffic, the world that its tasks act on, and a check of what is left there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from scenarios.kinds import TaskKind
from scenarios.rows import Rows
from scenarios.settings import Setting, Settings, resolve
from server import EffectRows

if TYPE_CHECKING:
    from fastapi import FastAPI
else:
    # It takes longer to import than all else together; a name there must be, or nobody could ask for the types of the fields.
    FastAPI = Any

__all__ = ["CannotStart", "Check", "Figure", "Plan", "Request", "Scenario", "Task", "Troubled", "World"]


@dataclass(frozen=True, slots=True)
class Task:
    """One background task that each request has, in the order in which they are added."""

    name: str
    effect: str = ""  # what it leaves in the world, in the plural; empty: nothing that anybody could see
    most_effects: int = 1  # that one start may leave; more where a task does again what may have arrived


class Request(BaseModel):
    """One request that the client may send. `{op}` in path, headers and body becomes the operation id."""

    model_config = ConfigDict(extra="forbid")

    name: str
    method: str
    path: str
    headers: dict[str, str] = {}
    body: str = ""
    body_file: Path | None = None  # instead of `body`: a file that `traffic` made in its folder, sent as it is
    weight: float = Field(default=1.0, gt=0)
    has_tasks: bool = True  # False: it is answered without any background work


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does when nothing else is asked for: it should make the scenario's point."""

    rate_per_s: float
    duration_s: float
    pool: int
    faults: tuple[str, ...] = ()


class CannotStart(Exception):
    """A world that can't be made, for a reason that its user can mend: the text says which."""


class World(Protocol):
    """The servers that the tasks talk to. Each effect is written down before it is acknowledged."""

    def addresses(self) -> dict[str, str]:
        """Where they are, by name: host:port, a path, a URL. Handed to the app."""

    async def close(self) -> None:
        """Finishes what is under way, writes down what has arrived, and stops."""


class Troubled(Protocol):
    """A server that can be slow, or gone, for a while: the faults slow-world and dead-world.

    A world that has such servers says so by an attribute `troubled`, a sequence of them; one without it cannot be in trouble.
    """

    @property
    def late(self) -> int:
        """Answers that were late so far."""

    def listening(self) -> list[tuple[str, int]]:
        """Where it listens when it is not gone: host and port."""

    def slow(self, delay_s: float) -> None:
        """Lets it answer so much later from now on; 0: as usual."""

    async def leave(self) -> int:
        """Drops all connections and refuses new ones. Returns how many it dropped."""

    async def come_back(self) -> None:
        """Listens again, on the same port."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Something that the check has found out, e.g., `Figure("half_written", 12, "files", "12 half-written files")`."""

    id: str
    value: float | None  # None: there is none, e.g., a percentile of nothing
    unit: str  # "files", "ms", "%", ...
    text: str  # the figure in words, with its number; empty: not worth a line


@dataclass(frozen=True, slots=True)
class Check:
    """What is left in the world. A task that failed is no problem but the truth; a problem is where two witnesses disagree."""

    figures: tuple[Figure, ...] = ()
    problems: tuple[str, ...] = ()  # each makes the run inconclusive


def nothing_more(rows: Rows, settings: Settings, folder: Path) -> Check:
    """The check of a scenario whose effect rows say everything."""
    return Check()


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario. All but the last few are required."""

    name: str
    summary: str
    plan: Plan
    tasks: tuple[Task, ...]
    settings: tuple[Setting, ...]
    app: Callable[[type[FastAPI], TaskKind, Mapping[str, str], Settings], FastAPI]  # class, kind, the world's addresses, settings
    traffic: Callable[[int, Settings, Path], list[Request]]  # seed, settings, folder for body files -> what the client picks from
    world: Callable[[EffectRows, Settings, Path], Awaitable[World]]  # rows to write effects into, settings, folder of its own
    check: Callable[[Rows, Settings, Path], Check] = nothing_more  # all rows, settings, the world's folder: when all has ended
    kinds: tuple[TaskKind, ...] = tuple(TaskKind)
    story: str = ""  # what one will see while it runs, in one or two sentences
    has_body_files: bool = False  # `traffic` writes bodies into its folder, which takes time: it is asked once a run is sure

    def __post_init__(self) -> None:
        wanted: tuple[tuple[str, type], ...] = (
            ("name", str),
            ("summary", str),
            ("plan", Plan),
            ("tasks", tuple),
            ("settings", tuple),
            ("kinds", tuple),
        )
        for name, type_ in wanted:
            if not isinstance(getattr(self, name), type_):
                msg = f"SCENARIO.{name} must be a {type_.__name__}, not {getattr(self, name)!r}"
                raise TypeError(msg)
        for name, each_type in (("tasks", Task), ("settings", Setting), ("kinds", TaskKind)):
            for each in getattr(self, name):
                if not isinstance(each, each_type):
                    msg = f"each of SCENARIO.{name} must be a {each_type.__name__}, not {each!r}"
                    raise TypeError(msg)
        for name in ("app", "traffic", "world", "check"):
            if not callable(getattr(self, name)):
                msg = f"SCENARIO.{name} must be a function, not {getattr(self, name)!r}"
                raise TypeError(msg)
        if not self.kinds:
            msg = "SCENARIO.kinds must name at least one kind of task"
            raise TypeError(msg)

    def resolve(self, given: Mapping[str, str], seed: int = 1) -> Settings:
        """All settings. Raises BadSetting naming the setting, what was given and what is allowed."""
        return resolve(self.name, self.settings, given, seed)

    def requests(self, settings: Settings, folder: Path) -> list[dict[str, Any]]:
        """What the client sends, as JSON; body files go into `folder`. Raises TypeError if that can't be sent."""
        requests = self.traffic(settings.seed, settings, folder)
        if not isinstance(requests, list) or not requests or not all(isinstance(each, Request) for each in requests):
            msg = f"traffic must return a list with at least one Request, not {requests!r}"
            raise TypeError(msg)
        if not self.has_body_files and any(each.body_file is not None for each in requests):
            msg = "traffic names a body_file: say has_body_files=True in SCENARIO, so that it gets a folder that stays"
            raise TypeError(msg)
        return [request.model_dump(mode="json", exclude_none=True) for request in requests]

    def describe(self, kind: TaskKind, given: Mapping[str, str]) -> dict[str, Any]:
        """What the harness must know before it starts anything, as JSON, but for the traffic. Raises BadSetting."""
        n_effects = sum(bool(task.effect) for task in self.tasks)
        return {
            "name": self.name,
            "summary": self.summary,
            "effects": [task.effect for task in self.tasks],
            "tasks": [task.name for task in self.tasks],
            "has_check": self.check is not nothing_more,
            "kinds": [str(each) for each in self.kinds],
            "plan": self._plan(),
            "settings": {setting.name: given.get(setting.name, setting.default) for setting in self.settings},
            "expects": {
                "tasks_per_request": 0 if kind is TaskKind.INLINE else len(self.tasks),
                "effects_per_request": n_effects,
                "most_effects_per_start": max((task.most_effects for task in self.tasks), default=1),
            },
        }

    def introduce(self) -> dict[str, Any]:
        """What somebody who chooses a scenario should know of it, as JSON."""
        return {
            "name": self.name,
            "summary": self.summary,
            "story": self.story,
            "kinds": [str(each) for each in self.kinds],
            "plan": self._plan(),
            "settings": [
                {"name": each.name, "default": each.default, "help": each.help, "allowed": each.allowed} for each in self.settings
            ],
        }

    def _plan(self) -> dict[str, Any]:
        return {
            "rate_per_s": self.plan.rate_per_s,
            "duration_s": self.plan.duration_s,
            "pool": self.plan.pool,
            "faults": list(self.plan.faults),
        }
