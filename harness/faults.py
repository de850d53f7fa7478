"""Planned faults: the kinds, what each needs, which of them contradict each other. Pure; how they are written: faultsyntax.py."""

from __future__ import annotations

import math
import os.path
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from harness.durations import show_duration

__all__ = [
    "GAUGES",
    "KINDS",
    "OF_THE_WORLD",
    "OPERATORS",
    "Condition",
    "FaultKind",
    "FaultPlan",
    "Target",
    "clash",
    "contradiction",
    "occurrences",
    "unfit",
]

Unit = Literal["count", "bytes", "duration"]
Effect = Literal["ends", "lasts", "replaces", "asks"]
ValueType = Literal["threads", "processes", "duration", "signal", "whose"]

MOST_OCCURRENCES: Final = 100_000


@dataclass(frozen=True, slots=True)
class FaultKind:
    """What a fault does, to whom, and what can be said with it."""

    effect: Effect  # ends the boot; lasts, and is taken back; replaces processes of the boot; asks, and the server decides
    help: str
    signal: signal.Signals | None = None
    group: bool = False  # to all its processes, as a terminal's Ctrl-C or a kill of the container; otherwise to the first alone
    freezes: bool = False  # all its processes are stopped first, so that what is about to be lost can be counted exactly
    length: Literal["none", "required", "optional"] = "none"
    value: ValueType | None = None
    default: float | str | None = None
    lets: frozenset[str] = frozenset()  # kinds that may happen while it lasts, besides those of `_BESIDE_THE_SERVER`


KINDS: Final[dict[str, FaultKind]] = {
    "kill": FaultKind(
        "ends", "freeze, count, then SIGKILL to all processes: an exact crash", signal.SIGKILL, group=True, freezes=True
    ),
    "crash": FaultKind("ends", "SIGKILL to all processes out of the blue, without freezing first", signal.SIGKILL, group=True),
    "parent": FaultKind("ends", "SIGKILL to the process that was started and to none that it started itself", signal.SIGKILL),
    "term": FaultKind(
        "ends",
        "SIGTERM to the first process, as a deploy sends it (term=5s: after 5 s SIGKILL to all that is left)",
        signal.SIGTERM,
        value="duration",
    ),
    "int": FaultKind(
        "ends", "SIGINT to all processes, as Ctrl-C sends it (int=5s: likewise)", signal.SIGINT, group=True, value="duration"
    ),
    "hup": FaultKind("asks", "SIGHUP to the first process: it ends, replaces its workers, or goes on", signal.SIGHUP),
    "worker": FaultKind(
        "replaces",
        "SIGKILL (worker=term: SIGTERM) to the one of several workers that holds most; its supervisor starts another",
        value="signal",
        default="kill",
    ),
    "rolling": FaultKind("replaces", "a rolling restart, worker after worker, by the server's own SIGHUP", signal.SIGHUP),
    "stop": FaultKind(
        "lasts",
        "SIGSTOP to all processes, then SIGCONT",
        signal.SIGSTOP,
        group=True,
        length="required",
        lets=frozenset({"kill", "crash"}),
    ),
    "squeeze": FaultKind(
        "lasts",
        "the pool for def tasks shrinks to 1 thread (squeeze=2: to 2), then grows back",
        length="required",
        value="threads",
        default=1,
        lets=frozenset({"full-disk"}),
    ),
    "slow-world": FaultKind(
        "lasts",
        "the servers that the tasks talk to answer 1s later (slow-world=200ms: 200ms later)",
        length="required",
        value="duration",
        default=1.0,
    ),
    "dead-world": FaultKind("lasts", "they drop all connections and refuse new ones", length="required"),
    "hog": FaultKind(
        "lasts",
        "one busy process for each core (hog=4: four) beside the server",
        length="required",
        value="processes",
        default=0,
    ),
    "full-disk": FaultKind(
        "lasts",
        "no file of the server's grows any more (full-disk=all: nor one of the world or the load); without a length to the end",
        length="optional",
        value="whose",
        default="server",
        lets=frozenset({"squeeze"}),
    ),
}

_BESIDE_THE_SERVER: Final = frozenset({"slow-world", "dead-world", "hog"})
OF_THE_WORLD: Final = frozenset({"slow-world", "dead-world"})
_ROLLING_COMMANDS: Final = ("gunicorn", "granian", "uvicorn --workers N")

GAUGES: Final[dict[str, tuple[Unit, str]]] = {
    "backlog": ("count", "tasks accepted and not started"),
    "busy": ("count", "tasks started and not ended"),
    "waiting": ("count", "who waits for a thread of the pool"),
    "in-flight": ("count", "requests that the server is answering"),
    "accepted": ("count", "tasks accepted, in the whole run"),
    "finished": ("count", "tasks that returned, in the whole run"),
    "failed": ("count", "tasks that raised, in the whole run"),
    "sent": ("count", "requests sent, in the whole run"),
    "answered": ("count", "requests answered, in the whole run"),
    "rss": ("bytes", "memory of the server's processes"),
    "loop-lag": ("duration", "how late the event loop is"),
}
OPERATORS: Final = (">=", "<=", ">", "<")


@dataclass(frozen=True, slots=True)
class Condition:
    """A gauge and a limit."""

    gauge: str  # of `GAUGES`
    operator: str  # of `OPERATORS`
    limit: float  # bytes, seconds, or a number
    text: str  # as it was written

    def holds(self, value: float) -> bool:
        """Whether the gauge's value meets it."""
        match self.operator:
            case ">":
                return value > self.limit
            case ">=":
                return value >= self.limit
            case "<":
                return value < self.limit
            case _:
                return value <= self.limit

    def is_nearer(self, value: float, best: float | None) -> bool:
        """Whether `value` is nearer to being met than `best`."""
        return best is None or (value > best if self.operator.startswith(">") else value < best)

    def show(self, value: float) -> str:
        """A value of its gauge in its unit."""
        match GAUGES[self.gauge][0]:
            case "bytes":
                return f"{value / 1e6:,.1f} MB"
            case "duration":
                return f"{value * 1e3:,.1f} ms"
            case _:
                return f"{value:,.0f}"


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """One fault, and when."""

    name: str
    at_s: float | None = None  # after load start; None: on a condition
    condition: Condition | None = None
    not_before_s: float = 0.0  # a condition does not count before
    length_s: float | None = None  # of one that lasts; None: to the end of the load
    value: float | str | None = None
    every_s: float | None = None  # again and again
    count: int | None = None  # so often in all; None: until the load ends

    @property
    def kind(self) -> FaultKind:
        """What it does."""
        return KINDS[self.name]

    @property
    def until_s(self) -> float | None:
        """When it is over; None if it is on a condition, or lasts until the load has ended."""
        return None if self.at_s is None or (self.length_s is None and self.kind.effect == "lasts") else self._end_s

    @property
    def _end_s(self) -> float:
        return (self.at_s or 0.0) + (self.length_s or 0.0)

    def __str__(self) -> str:
        value = ""
        if self.value is not None and self.value != self.kind.default:
            value = f"={show_duration(float(self.value)) if self.kind.value == 'duration' else self.value}"
        when = self.condition.text if self.condition else show_duration(self.at_s or 0.0)
        length = f"+{show_duration(self.length_s)}" if self.length_s is not None else ""
        every = f" every {show_duration(self.every_s)}" if self.every_s is not None else ""
        count = f" x{self.count}" if self.count is not None else ""
        after = f" after {show_duration(self.not_before_s)}" if self.not_before_s else ""
        return f"{self.name}{value}@{when}{length}{every}{count}{after}"


@dataclass(frozen=True, slots=True)
class Target:
    """What must be known of a plan to say whether a fault suits it."""

    engine: str
    workers: int | None
    pool: int | None
    has_world: bool
    command: Sequence[str]


def occurrences(faults: Sequence[FaultPlan], for_s: float) -> list[FaultPlan]:
    """Each single fault: those at a time in order, then those on a condition. Raises ValueError for one outside the load."""
    found = [each for fault in faults for each in _each(fault, for_s)]
    for fault in found:
        if fault.at_s is not None and fault.at_s >= for_s:
            msg = f"fault {fault} comes after the end of the load ({for_s:g} s): make it earlier, or load longer"
            raise ValueError(msg)
        if fault.until_s is not None and fault.until_s > for_s:
            msg = f"fault {fault} ends after the end of the load ({for_s:g} s): make it shorter, or load longer"
            raise ValueError(msg)
        if fault.condition is not None and fault.not_before_s >= for_s:
            msg = f"fault {fault} counts only after the end of the load ({for_s:g} s): make it earlier, or load longer"
            raise ValueError(msg)
    return sorted(found, key=lambda fault: math.inf if fault.at_s is None else fault.at_s)


def _each(fault: FaultPlan, for_s: float) -> Iterator[FaultPlan]:
    if fault.every_s is None or fault.at_s is None:
        yield fault
        return
    single = replace(fault, every_s=None, count=None)
    room_s = for_s - fault.at_s - (fault.length_s or 0.0)
    fitting = math.ceil(room_s / fault.every_s) if not fault.length_s else math.floor(room_s / fault.every_s + 1e-9) + 1
    # Without a number those happen that fit; asked for by number, one that does not is an error, as a first one that does not.
    number = fault.count if fault.count is not None else max(fitting, 1)
    if number > MOST_OCCURRENCES:
        msg = f"fault {fault} would happen {number:,} times: at most {MOST_OCCURRENCES:,} are allowed, ask for fewer"
        raise ValueError(msg)
    for turn in range(number):
        yield replace(single, at_s=round(fault.at_s + turn * fault.every_s, 9))


def contradiction(faults: Sequence[FaultPlan]) -> str | None:
    """Why two of these single faults cannot be combined, in words; None if all can. Those on a condition wait for their turn."""
    timed = sorted((fault for fault in faults if fault.at_s is not None), key=lambda fault: fault.at_s or 0.0)
    for number, first in enumerate(timed):
        if first.kind.effect != "lasts":
            # One that does not last is over before the next begins, or that one is late and says so.
            continue
        for second in timed[number + 1 :]:
            if first.until_s is not None and (second.at_s or 0.0) >= first.until_s:
                break
            if why := clash(first.name, second.name):
                until = "the end" if first.until_s is None else show_duration(first.until_s)
                return f"{first} and {second} overlap, the first lasts until {until}: {why}"
    return None


def clash(lasting: str, other: str) -> str | None:
    """Why `other` cannot happen while `lasting` lasts, in words; None if it can."""
    if lasting == other and lasting != "hog":
        return f"two of {lasting} at once are one"
    if {lasting, other} <= OF_THE_WORLD:
        return "a world that is dead cannot be slow"
    if lasting in _BESIDE_THE_SERVER or other in _BESIDE_THE_SERVER or other in KINDS[lasting].lets:
        return None
    if lasting == "stop":
        return f"a server that is stopped cannot do what {other} asks of it"
    if other == "stop":
        return f"{lasting} could not be taken back from a server that is stopped"
    return f"{other} would end what {lasting} is done to"


def unfit(fault: FaultPlan, target: Target) -> str | None:
    """Why a plan's server or world cannot take this fault, in words, with what to do; None if it can, as far as is known."""
    if fault.name in OF_THE_WORLD and not target.has_world:
        return (
            "an app of your own brings its own world, which afterload cannot reach: slow down or stop what it talks to yourself"
        )
    known_workers = target.workers if target.engine != "command" else _workers_in(target.command)
    if fault.name == "worker" and known_workers == 1 and target.engine != "granian":
        return "the server has one process: give it others with --workers 2, or use kill"
    if fault.name == "rolling":
        return _cannot_roll(target, known_workers)
    if (
        fault.name == "squeeze"
        and target.pool is not None
        and isinstance(fault.value, (int, float))
        and fault.value >= target.pool
    ):
        return f"the pool has {target.pool} threads: squeeze it to fewer"
    return None


def _cannot_roll(target: Target, workers: int | None) -> str | None:
    if target.engine in {"rust", "uvicorn"} and workers == 1:
        return f"engine {target.engine} replaces workers one by one only where there are several: give it --workers 2"
    if target.engine != "command":
        return None
    names = {os.path.basename(part) for part in target.command}  # noqa: PTH119  # words, not paths
    if names & {"gunicorn", "granian"} or ("uvicorn" in names and workers is not None and workers > 1):
        return None
    return (
        f"of {' '.join(target.command)!r} it is not known how to restart its workers one by one; it is of"
        f" {', '.join(_ROLLING_COMMANDS)}. hup sends SIGHUP to any server and tells what came of it"
    )


def _workers_in(command: Sequence[str]) -> int | None:
    """How many workers uvicorn was asked for in a command; None if it is another server."""
    if "uvicorn" not in {os.path.basename(part) for part in command}:  # noqa: PTH119
        return None
    for part, following in zip(command, [*command[1:], ""], strict=True):
        name, _, value = part.partition("=")
        if name == "--workers" and (value or following).isdecimal():
            return int(value or following)
    return None
