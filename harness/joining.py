"""The load machines of a run, as the session sees them: asked to join, given their jobs, begun, waited for, stopped.

What Locust's protocol needs is in a process of its own (harness/load/machines), with which this talks in lines of JSON.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.address import split_address
from harness.engines import MODULE
from harness.errors import ChildDied, ChildNotReady, RunError, UsageError
from harness.plan import Plan
from harness.processes import Child
from harness.rundir import EventLog, RunDir
from harness.talk import Talk
from harness.target import here, is_loopback, locustfile_sha256, whose_clock
from harness.version import VERSION

__all__ = ["SHORTEST_TOKEN", "TOKEN_VARIABLE", "LoadMachines"]

TOKEN_VARIABLE = "AFTERLOAD_JOIN_TOKEN"  # noqa: S105 - the name of one
"""Where both sides look for the join token. Without it the measuring side makes one and shows it."""

SHORTEST_TOKEN = 16
_START_S = 30.0
_READY_S = 60.0
_STORE_S = 30.0
"""How long nothing at all may come of rows that are on their way."""

_COUNTED_PER_S = 100_000
"""Rows that a load machine makes histograms of before it reports, at the least; 370,000 were seen on a busy machine."""

_STOP_S = 20.0
_POLL_S = 0.005
_GRACE_S = 3.0


@dataclass
class _Machine:
    """One load machine."""

    name: str
    processes: int
    numbers: list[int] = field(default_factory=list)  # of its processes in the run, once it has jobs
    planned: list[int] | None = None  # of each of its processes, once they are ready
    schedules: list[str | None] = field(default_factory=list)
    standing: dict[str, int] = field(default_factory=dict)
    is_finished: bool = False


class LoadMachines:
    """All load machines of one run, as one thing."""

    def __init__(
        self, plan: Plan, rundir: RunDir, events: EventLog, tick: Callable[[], None], tell: Callable[[str], None]
    ) -> None:
        """`tell` shows a line to whoever watches the run; nothing else learns a token from it."""
        self._plan = plan
        self._rundir = rundir
        self._events = events
        self._tick = tick
        self._tell = tell
        self._child: Child | None = None
        self._talk: Talk | None = None
        self._port = 0
        self._machines: dict[int, _Machine] = {}
        self._failure: RunError | None = None
        self._has_jobs = False
        self._heard_s = 0.0
        self._note: Callable[[Mapping[str, Any]], None] = lambda report: None

    def start(self) -> None:
        """Begins to listen for them. Raises UsageError if that cannot be."""
        plan = self._plan
        given = os.environ.get(TOKEN_VARIABLE)
        if given is not None and len(given) < SHORTEST_TOKEN:
            raise UsageError(f"{TOKEN_VARIABLE} has {len(given)} characters; a join token has {SHORTEST_TOKEN} or more")
        token = given or secrets.token_urlsafe(24)
        host, port = split_address(plan.join_bind, "join_bind")
        command = [sys.executable, *MODULE, "harness.load.machines", "master"]
        # The token goes through the pipe: an environment can be read, and a command line by everybody.
        env = {TOKEN_VARIABLE: ""}
        child = self._child = Child("join", command, self._rundir.log("join"), run_id=self._rundir.run_id, env=env, piped=True)
        self._talk = Talk(child, self._tick)
        self._talk.say(
            {
                "token": token,
                "bind": [host, port],
                "expect": plan.expect_loads,
                "version": VERSION,
                "target": plan.host,
                "target_is_loopback": is_loopback(plan.host),
                "here": here(),
                "clock": whose_clock(),
                "locustfile_sha256": locustfile_sha256(plan.locustfile),
                "rundir": str(self._rundir.path),
            }
        )
        try:
            self._port = self._talk.hear(_START_S, "before it listened")["port"]
        except ChildDied as error:
            why = self._said_error()
            hint = "say with --join-bind HOST:PORT where load machines can reach this one"
            raise UsageError(f"--join-bind {plan.join_bind}: {why}", hint) if why else error from None
        self._invite(host, token if given is None else None)

    def wait_for_all(self) -> dict[int, int]:
        """Waits until all have joined. How many load processes each brings, by its number. Raises ChildNotReady."""
        plan = self._plan
        self._wait(lambda: len(self._machines) >= plan.expect_loads, plan.join_s, self._who_came)
        return {number: self._machines[number].processes for number in sorted(self._machines)}

    def give(self, jobs: Mapping[int, Sequence[Mapping[str, Any]]], templates: Sequence[Mapping[str, Any]]) -> None:
        """Gives each machine the jobs of its processes, and the templates of all, without any secret in them."""
        self._has_jobs = True
        for number, each in jobs.items():
            self._machines[number].numbers = [job["process"] for job in each]
        given = {str(number): list(each) for number, each in jobs.items()}
        self._say(
            {"jobs": given, "templates": list(templates), "most_rows": self._plan.join_rows, "warm_up_s": self._plan.warm_up_s}
        )

    def ready(self) -> list[tuple[int, str | None]]:
        """Waits until all are ready. What each process has in its schedule, and the digest of the whole one. Raises RunError."""
        machines = self._machines.values()
        self._wait(lambda: all(each.planned is not None for each in machines), _READY_S, self._who_is_ready)
        return [pair for each in machines for pair in zip(each.planned or (), each.schedules, strict=True)]

    def begin(self, t0_ns: int, note: Callable[[Mapping[str, Any]], None]) -> None:
        """Tells all the start, by our clock. `note` is given what each process reports at its end."""
        self._note = note
        self._say({"t0_ns": t0_ns})

    def finish(self, within_s: float) -> None:
        """Waits until all have sent what they had to, and their rows are here. Raises RunError."""
        machines = self._machines.values()
        end = time.monotonic() + within_s
        self._wait(
            lambda: all(each.is_finished for each in machines), within_s, self._who_is_done, until=lambda: self._until(end)
        )

    def poll(self) -> None:
        """Reads what was said meanwhile. Raises RunError if one of them is lost."""
        self._read()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def total(self, name: str) -> int:
        """The sum of one figure of all of them, as it was half a second ago: sent, answered."""
        return sum(each.standing.get(name, 0) for each in self._machines.values())

    def stop(self) -> None:
        """Lets those that still send end, takes what rows they have, and says goodbye."""
        if self._child is None or self._talk is None:
            return
        if self._child.poll() is None:
            self._say({"stop": True})
            end = time.monotonic() + _STOP_S
            while self._unfinished() and self._child.poll() is None and time.monotonic() < self._until(end):
                self._read()
                self._tick()
                time.sleep(_POLL_S)
            self._say({"over": True})
            self._child.wait(_GRACE_S, self._tick)
        self._child.stop(_GRACE_S)

    def _unfinished(self) -> list[_Machine]:
        # Of those that never had anything to send nothing is waited for.
        return [each for each in self._machines.values() if each.planned is not None and not each.is_finished]

    def _until(self, end: float) -> float:
        # Rows may take longer than anybody can say in advance; as long as some come, they are waited for.
        if any(each.is_finished for each in self._machines.values()):
            return max(end, self._heard_s + _STORE_S)
        return end + self.total("sent") / _COUNTED_PER_S

    def _invite(self, host: str, token: str | None) -> None:
        plan = self._plan
        shown = "ADDRESS-OF-THIS-MACHINE" if host in {"0.0.0.0", "::", "*"} else host  # noqa: S104 - compared, not bound
        address = f"[{shown}]:{self._port}" if ":" in shown else f"{shown}:{self._port}"
        said = "" if is_loopback(plan.host) else f" --yes-this-target-is-mine {plan.host}"
        said += " --locustfile FILE" if plan.locustfile is not None else ""
        how = f"--token {token}" if token is not None else f"({TOKEN_VARIABLE} as here)"
        n = plan.expect_loads
        self._tell(f"waiting for {n} load machine{'s' if n > 1 else ''}; run there: afterload load --join {address}{said} {how}")

    def _wait(
        self,
        condition: Callable[[], bool],
        timeout_s: float,
        text: Callable[[float], str],
        until: Callable[[], float] | None = None,
    ) -> None:
        end = time.monotonic() + timeout_s
        while not condition():
            self.poll()
            if condition():
                return
            if time.monotonic() > (until() if until is not None else end):
                raise ChildNotReady(text(timeout_s))
            self._tick()
            time.sleep(_POLL_S)

    def _who_came(self, waited_s: float) -> str:
        names = ", ".join(each.name for each in self._machines.values())
        return (
            f"{len(self._machines)} of {self._plan.expect_loads} load machines joined within {waited_s:g} s"
            f"{f' ({names})' if names else ''}; they were to come to {self._plan.join_bind}"
        )

    def _who_is_ready(self, waited_s: float) -> str:
        names = ", ".join(each.name for each in self._machines.values() if each.planned is None)
        return f"load machines were not ready within {waited_s:g} s: {names}"

    def _who_is_done(self, waited_s: float) -> str:
        names = ", ".join(each.name for each in self._machines.values() if not each.is_finished)
        return f"load machines did not report the end of their load within {waited_s:.0f} s: {names}"

    def _read(self) -> None:
        assert self._child is not None
        assert self._talk is not None
        ended = self._child.poll() is not None
        while (said := self._talk.listen()) is not None:
            self._heard_s = time.monotonic()
            getattr(self, f"_on_{said.pop('event')}")(said)
        if ended and self._failure is None:
            self._failure = self._child.died("while load machines took part")

    def _on_joined(self, said: dict[str, Any]) -> None:
        machine = self._machines[said["member"]] = _Machine(said["machine"], said["processes"])
        self._events.write("load_machine_joined", **said)
        clock = said["clock"]
        known = f"its clock is known to {clock['uncertainty_ns'] / 1e6:.3f} ms" if clock is not None else "its clock is ours"
        n = machine.processes
        self._tell(
            f"load machine {said['member'] + 1} of {self._plan.expect_loads} has joined: {machine.name}, {n} load "
            f"process{'es' if n > 1 else ''}, {known}"
        )

    def _on_refused(self, said: dict[str, Any]) -> None:
        self._events.write("load_machine_refused", **said)
        self._tell(f"load machine {said['machine']} was refused: {said['why']}")

    def _on_left(self, said: dict[str, Any]) -> None:
        self._write_gone("load_machine_left", said)
        if self._machines.get(said["member"]) is None:
            self._tell(f"load machine {said['machine']} left before it took part: {said['why']}")
            return
        self._gone(said, f"load machine {said['machine']} left: {said['why']}")

    def _on_lost(self, said: dict[str, Any]) -> None:
        self._write_gone("load_machine_lost", said)
        self._gone(said, f"load machine {said['machine']} is lost: {said['why']}")

    def _write_gone(self, event: str, said: dict[str, Any]) -> None:
        machine = self._machines.get(said["member"])
        self._events.write(event, **said, load_processes=machine.numbers if machine is not None else [])

    def _gone(self, said: dict[str, Any], text: str) -> None:
        machine = self._machines[said["member"]]
        machine.is_finished = True
        if not self._has_jobs:
            # Another one may come in its place.
            del self._machines[said["member"]]
            self._tell(text)
            return
        sent = said["said"].get("sent")
        known = f"; it had said that it sent {sent:,} requests, whose rows are not here" if sent else ""
        self._failure = self._failure or RunError(text + known)

    def _on_ready(self, said: dict[str, Any]) -> None:
        machine = self._machines[said["member"]]
        machine.planned = [each["planned"] for each in said["processes"]]
        machine.schedules = [each.get("schedule") for each in said["processes"]]

    def _on_standing(self, said: dict[str, Any]) -> None:
        for number, standing in enumerate(said["members"]):
            if number in self._machines:
                self._machines[number].standing = standing

    def _on_clock(self, said: dict[str, Any]) -> None:
        self._events.write("load_machine_clock", **said)

    def _on_done(self, said: dict[str, Any]) -> None:
        report, stored = said["report"], said["stored"]
        if "problem" in stored:
            self._events.write("problem", text=stored["problem"])
            self._events.write("load_rows_lost", machine=said["machine"], load_processes=[report["process"]])
        else:
            self._events.write("load_rows_stored", machine=said["machine"], process=report["process"], **stored)
        uncertainty_ns = stored.get("clock_uncertainty_ns")
        self._note(
            {
                **report,
                "machine": said["machine"],
                "clock_uncertainty_ms": None if uncertainty_ns is None else round(uncertainty_ns / 1e6, 6),
            }
        )

    def _on_finished(self, said: dict[str, Any]) -> None:
        self._machines[said["member"]].is_finished = True
        if said["problem"] is not None:
            self._failure = self._failure or RunError(f"load machine {said['machine']}: {said['problem']}")

    def _say(self, message: dict[str, Any]) -> None:
        if self._talk is not None:
            self._talk.say(message)

    def _said_error(self) -> str | None:
        assert self._child is not None
        lines = self._child.log.read_text(errors="replace").splitlines()
        return next((line.removeprefix("error: ") for line in reversed(lines) if line.startswith("error: ")), None)
