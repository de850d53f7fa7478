"""What the events of a run say of an instant: its phase, its server, its marks and gaps, what was changed by hand. Pure.

Given are the events that had been written by then, so nothing is told before it was known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from harness.faults import KINDS
from harness.live.figures import Left
from harness.live.frame import Boot, Mark, MarkKind, Outage, Phase, Setting
from harness.load.pacing import planned_profile

__all__ = ["Told", "tell"]

Event = Mapping[str, Any]
Lefts = Mapping[int, Left]

_PHASES: Final = {"start": Phase.START, "load": Phase.LOAD, "fault": Phase.LOAD, "drain": Phase.DRAIN, "stop": Phase.STOP}
_NOTHING_LEFT: Final = Left(0, 0, 0)
_LOADS: Final = {"rate", "users", "for"}
_SETTINGS: Final = {"pool", "tasks"}
_ASKS: Final = {"SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP"}
"""What a server may take its time to obey; others end it at once."""


@dataclass(frozen=True, slots=True)
class Told:
    """By the events up to an instant. Times in s since load start."""

    phase: Phase
    boot: Boot
    marks: tuple[Mark, ...]
    outages: tuple[Outage, ...]
    settings: tuple[Setting, ...]
    restarts: int  # boots beyond the first
    is_there: bool  # the server is up and moves, or was stopped because the run is over
    is_draining: bool  # a fault has asked it to end, and it has not yet


def tell(events: Sequence[Event], plan: Mapping[str, Any], left: Lefts, at_ns: int, start_ns: int, pool: int | None) -> Told:
    """`left`: queued and running tasks at the death of each dead boot. `pool`: its size as it was seen last, None: it was not."""
    boots = _Boots(events)
    since = _Since(start_ns)
    return Told(
        phase=_phase(events),
        boot=boots.now(at_ns),
        marks=tuple(sorted(_marks(events, plan, left, since, at_ns), key=lambda mark: mark.at_s)),
        outages=tuple(boots.outages(since)),
        settings=tuple(_settings(events, plan, pool, (at_ns - start_ns) / 1e9)),
        restarts=max(len(boots.spawned) - 1, 0),
        is_there=boots.is_there(),
        is_draining=boots.is_draining(),
    )


class _Since:
    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns

    def __call__(self, instant_ns: int) -> float:
        return (instant_ns - self._start_ns) / 1e9


def _phase(events: Sequence[Event]) -> Phase:
    phase = Phase.START
    for event in events:
        if event["event"] == "phase":
            phase = _PHASES.get(event.get("name", ""), phase)
        elif event["event"] == "end":
            phase = Phase.JUDGE
    return phase


class _Boots:
    """The server's life."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.spawned: dict[int, Event] = {}
        self.ready: dict[int, int] = {}
        self.reaped: dict[int, int] = {}
        self.signalled: dict[int, Event] = {}
        self.frozen: dict[int, int] = {}
        self.stopped: int | None = None  # since when, by a fault that stops it
        self._stops: list[tuple[int, int | None]] = []
        stops: dict[Any, int] = {}
        for event in events:
            boot = int(event.get("boot") or 0)
            match event["event"]:
                case "boot_spawned":
                    self.spawned[boot] = event
                case "boot_ready":
                    self.ready[boot] = event["ready_ns"]
                case "boot_frozen":
                    self.frozen[boot] = event["frozen_ns"]
                case "boot_signalled":
                    self.signalled[boot] = event
                case "boot_reaped":
                    self.reaped[boot] = event["reaped_ns"]
                case "fault" if event["name"] == "stop" and event["landed_ns"] is not None:
                    stops[event.get("number")] = event["landed_ns"]
                case "fault_ended" if event.get("number") in stops:
                    self._stops.append((stops.pop(event["number"]), event["ended_ns"] or event["t_ns"]))
        self._stops += [(landed_ns, None) for landed_ns in stops.values()]
        self.stopped = next(iter(stops.values()), None)

    def now(self, at_ns: int) -> Boot:
        if not self.spawned:
            return Boot(number=0, pid=None, is_up=False, is_ready=False, for_s=0.0, in_words="not started")
        number = max(self.spawned)
        spawned_ns = self.spawned[number]["spawned_ns"]
        ready_ns, dead_ns = self.ready.get(number), self.reaped.get(number)
        signalled, frozen_ns = self.signalled.get(number), self.frozen.get(number)
        if dead_ns is not None:
            is_orderly = signalled is not None and not signalled["fault"]
            words, since_ns = "ended" if is_orderly else "down", dead_ns
        elif signalled is not None:
            words, since_ns = "draining" if signalled["signal"] in _ASKS else "being killed", signalled["signalled_ns"]
        elif frozen_ns is not None:
            words, since_ns = "frozen, to be killed", frozen_ns
        elif ready_ns is None:
            words, since_ns = "starting", spawned_ns
        elif self.stopped is not None:
            words, since_ns = "stopped (SIGSTOP)", self.stopped
        else:
            words, since_ns = "up", ready_ns
        return Boot(
            number=number,
            pid=None if dead_ns is not None else self.spawned[number]["pid"],
            is_up=dead_ns is None,
            is_ready=dead_ns is None and ready_ns is not None,
            for_s=max(at_ns - since_ns, 0) / 1e9,
            in_words=words,
        )

    def is_there(self) -> bool:
        if not self.spawned:
            return False
        number = max(self.spawned)
        signalled = self.signalled.get(number)
        if signalled is not None:
            return not signalled["fault"]
        return number in self.ready and number not in self.reaped and number not in self.frozen and self.stopped is None

    def is_draining(self) -> bool:
        number = max(self.spawned, default=0)
        signalled = self.signalled.get(number)
        return signalled is not None and signalled["fault"] and signalled["signal"] in _ASKS and number not in self.reaped

    def outages(self, since: _Since) -> Iterator[Outage]:
        found: list[tuple[int, int | None, int | None]] = [(*stop, None) for stop in self._stops]
        for number in sorted(self.spawned):
            signalled, dead_ns = self.signalled.get(number), self.reaped.get(number)
            if signalled is not None and not signalled["fault"]:
                continue  # the orderly stop at the end of the run
            began_ns = self.frozen.get(number) or (signalled["signalled_ns"] if signalled is not None else dead_ns)
            if began_ns is None:
                continue
            back = min((ready_ns for later, ready_ns in self.ready.items() if later > number), default=None)
            found.append((began_ns, back, dead_ns))
        for from_ns, until_ns, dead_ns in sorted(found, key=lambda each: each[0]):
            until_s, gone_s = (None if each is None else since(each) for each in (until_ns, dead_ns))
            yield Outage(since(from_ns), until_s, gone_s)


def _marks(events: Sequence[Event], plan: Mapping[str, Any], left: Lefts, since: _Since, at_ns: int) -> Iterator[Mark]:
    ends = {event.get("number"): event for event in events if event["event"] == "fault_ended"}
    orderly = {event.get("boot") for event in events if event["event"] == "boot_signalled" and not event["fault"]}
    by_fault = {event.get("boot") for event in events if event["event"] == "boot_signalled" and event["fault"]}
    commands: dict[Any, Event] = {}

    def of(event: Event) -> Iterator[Mark]:
        at_s = since(event["t_ns"])
        match event["event"]:
            case "load_started":
                yield from _of_load(event, plan, since, at_ns)
            case "phase" if event.get("name") == "drain":
                yield Mark(at_s, MarkKind.PHASE, "drain", "the load is over; what is pending is worked off")
            case "phase" if event.get("name") == "stop":
                yield Mark(at_s, MarkKind.PHASE, "stop", "everything is being stopped")
            case "fault":
                yield _of_fault(event, ends.get(event.get("number")), left, since)
            case "fault_ended" if event.get("ended_ns") is not None:
                name = next((each["name"] for each in events if each.get("number") == event["number"]), "fault")
                yield Mark(since(event["ended_ns"]), MarkKind.FAULT_ENDED, f"{name} over", f"{name} is over", known_s=at_s)
            case "boot_reaped" if event["boot"] not in orderly:
                yield _of_death(event, left.get(event["boot"], _NOTHING_LEFT), since, by_fault=event["boot"] in by_fault)
            case "boot_ready":
                text = f"boot {event['boot']} is ready"
                yield Mark(since(event["ready_ns"]), MarkKind.UP, "up", text, known_s=at_s)
            case "worker_died":
                text = f"process {event['pid']} of boot {event['boot']} ended on its own; the server goes on"
                yield Mark(at_s, MarkKind.PROBLEM, "worker died", text)
            case "interrupted":
                yield Mark(at_s, MarkKind.PROBLEM, "interrupted", f"interrupted by {event['signal']}")
            case "problem":
                yield Mark(at_s, MarkKind.PROBLEM, "problem", str(event["text"]))
            case "command":
                commands[event.get("id")] = event
            case "command_landed" | "command_refused":
                yield from _of_command(event, commands.get(event.get("id"), {}), since)

    for place, event in enumerate(events):
        yield from (replace(mark, event=place) for mark in of(event))


def _of_load(event: Event, plan: Mapping[str, Any], since: _Since, at_ns: int) -> Iterator[Mark]:
    if event["load_start_ns"] <= at_ns:
        yield Mark(since(event["load_start_ns"]), MarkKind.PHASE, "load", "the load begins")
    warm_up_s = float(plan.get("warm_up_s") or 0.0)
    warm_ns = event["load_start_ns"] + round(warm_up_s * 1e9)
    if warm_up_s and warm_ns <= at_ns:
        yield Mark(since(warm_ns), MarkKind.PHASE, "warm", "the warm-up is over: from here on it is measured")


def _of_fault(event: Event, end: Event | None, left: Lefts, since: _Since) -> Mark:
    name, text = event["name"], event.get("text") or event["name"]
    if event["landed_ns"] is None:
        return Mark(since(event["t_ns"]), MarkKind.PROBLEM, f"{name} missed", f"{text} did not land: {event['detail']}")
    at_s, known_s = since(event["landed_ns"]), since(event["t_ns"])
    kind = KINDS.get(name)
    if kind is not None and kind.effect == "ends":
        queued, running, lost = left.get(event["boot"], _NOTHING_LEFT)
        signal = str((event.get("receipt") or {}).get("signal", name))
        words = f" with {queued:,} queued and {running:,} running tasks" if queued + running else ""
        words += f"; {lost:,} of them are lost" if lost else ""
        label = f"{name.upper()} -{lost:,}" if lost else name.upper()
        return Mark(at_s, MarkKind.FAULT, label, f"{signal} to boot {event['boot']}{words}", known_s=known_s)
    ended_ns = None if end is None else end.get("ended_ns")
    return Mark(at_s, MarkKind.FAULT, name, text, None if ended_ns is None else since(ended_ns), known_s)


def _of_death(event: Event, left: Left, since: _Since, *, by_fault: bool) -> Mark:
    queued, running, lost = left
    words = f", with {queued:,} queued and {running:,} running tasks" if queued + running else ""
    how = "is dead" if by_fault else f"died on its own (status {event['exit_status']})"
    label = "down" if by_fault or not lost else f"down -{lost:,}"
    text = f"boot {event['boot']} {how}{words}"
    return Mark(since(event["reaped_ns"]), MarkKind.DOWN, label, text, known_s=since(event["t_ns"]))


def _of_command(event: Event, command: Event, since: _Since) -> Iterator[Mark]:
    yield from (replace(mark, known_s=since(event["t_ns"])) for mark in _of_answer(event, command, since))


def _of_answer(event: Event, command: Event, since: _Since) -> Iterator[Mark]:
    name, value = _asked(command)
    at_s = since(event.get("at_ns") or event["t_ns"])
    if event["event"] == "command_refused":
        yield Mark(at_s, MarkKind.PROBLEM, "refused", f"{command.get('text') or 'a command'} was refused: {event.get('why', '')}")
    elif name in _LOADS:
        number = f"{value:g}" if isinstance(value, (int, float)) else str(value)
        shown = f"{number}/s" if name == "rate" else f"{number} {'users' if name == 'users' else 's'}"
        yield Mark(at_s, MarkKind.LOAD, f"-> {shown}", str(event.get("detail") or f"{name} is {number} from here on"))
    elif name in _SETTINGS:
        number = f"{value:g}" if isinstance(value, (int, float)) else str(value)
        yield Mark(at_s, MarkKind.SETTING, f"{name} {number}", str(event.get("detail") or f"{name} is {number} from here on"))
    elif name == "mark":
        yield Mark(at_s, MarkKind.NOTE, str(value)[:12], str(value))
    elif name == "stop":
        yield Mark(at_s, MarkKind.PHASE, "stop", "the load was ended by hand")


def _asked(command: Event) -> tuple[str, Any]:
    """What a command asks for, and its value."""
    name, _, text = str(command.get("text", "")).partition("=")
    return str(command.get("do") or name), command.get("value", text)


def _settings(events: Sequence[Event], plan: Mapping[str, Any], pool: int | None, at_s: float) -> Iterator[Setting]:
    landed, pending = dict[str, Any](), dict[Any, tuple[str, Any]]()
    for event in events:
        match event["event"]:
            case "command":
                pending[event.get("id")] = _asked(event)
            case "command_landed":
                name, value = pending.pop(event.get("id"), ("", None))
                landed[name] = value
            case "command_refused":
                pending.pop(event.get("id"), None)
    asked = dict(pending.values())
    if plan.get("users") is not None:
        yield Setting("users", landed.get("users", plan["users"]), asked.get("users"))
    elif plan.get("locustfile") is None:
        # After the run there is no rate of now, and where it came in stages none of all of it.
        is_over = _phase(events) is Phase.JUDGE and plan.get("stages") is not None
        yield Setting("rate", landed.get("rate", None if is_over else _rate(plan, at_s)), asked.get("rate"))
    # What is seen is that of all processes together, and what is asked for is that of each.
    processes = max(int(plan.get("workers") or 1), 1)
    told = landed.get("pool", plan.get("pool"))
    seen = pool if processes == 1 or pool is None else None if told is not None else pool // processes
    yield Setting("pool", told if seen is None else seen, asked.get("pool"))
    if plan.get("scenario") is not None:
        yield Setting("tasks", landed.get("tasks", plan.get("tasks")), asked.get("tasks"))


def _rate(plan: Mapping[str, Any], at_s: float) -> float | None:
    """What the plan asks for at the instant; None: nothing is planned in requests per second."""
    if plan.get("stages") is None:
        return plan.get("rate")
    try:
        profile = planned_profile(plan)
    except ValueError:
        return None  # a plan of another version
    left_s = max(at_s, 0.0)
    for segment in profile.segments if profile is not None else ():
        length_s = float(segment.for_s)
        if left_s <= length_s:
            first, last = float(segment.start_per_s), float(segment.end_per_s)
            return round(first + (last - first) * left_s / length_s, 1)
        left_s -= length_s
    return 0.0
