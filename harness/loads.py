"""The load processes of a run: started, given jobs, begun together, waited for, stopped; and what their pages say meanwhile.

Knows nothing of servers and faults; the session says when.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.engines import MODULE
from harness.errors import RunError
from harness.joining import LoadMachines
from harness.load.replay import packed_times
from harness.plan import Plan
from harness.processes import Child
from harness.replays import read_replay
from harness.rows import Gauge, LivePage, RowFileError
from harness.rundir import EventLog, RunDir
from harness.talk import Talk
from harness.traffic.jobs import load_job, without_secrets

__all__ = ["Loads"]

_REPORTED = (
    "planned",
    "sent",
    "shed",
    "overdue",
    "late",
    "cpu_share",
    "ceiling_per_s",
    "stalled_s",
    "longest_stall_s",
    "stalls",
    "exit_status",
    "machine",
    "clock_uncertainty_ms",
)
_READY_S = 30.0
_LEAD_NS = 150_000_000
"""From "all is ready" to the first request: time for the load process to wake up."""
_LEAD_ELSEWHERE_NS = 1_000_000_000
"""The same if it has to be told to other machines first."""
_ELSEWHERE = {Gauge.ACCEPTED: "sent", Gauge.STARTED: "answered"}
_PATIENCE_S = 10.0
_HURRY_S = 3.0
_POLL_S = 0.005


class Loads:
    """All load processes of one run, as one thing."""

    def __init__(
        self,
        plan: Plan,
        rundir: RunDir,
        events: EventLog,
        tick: Callable[[], None],
        tell: Callable[[str], None] = lambda text: None,
        *,
        ceiling_per_s: float | None = None,
    ) -> None:
        """`tick` is called about every 5 ms during a wait, `tell` with what whoever watches should know.

        `ceiling_per_s`: what one process of this machine can send at most, if known.
        """
        self._plan = plan
        self._ceiling_per_s = ceiling_per_s
        self._rundir = rundir
        self._events = events
        self._tick = tick
        self._started: list[tuple[Child, Talk]] = []
        self._pages: list[LivePage] = []
        self._reports: dict[int, dict[str, Any]] = {}
        self._answers: list[dict[str, Any]] = []
        self._machines = LoadMachines(plan, rundir, events, tick, tell) if plan.expect_loads else None
        self.n_processes = 0
        """Of all machines together, once that is known."""
        self.start_ns = 0
        """When the load begins, monotonic ns; 0 until that is known."""
        self.end_ns = 0
        """When it ends, monotonic ns; it can be changed meanwhile."""
        self.schedule: str | None = None
        """What tells its schedule from any other; None where there is none: users go by the answers."""

    def start(self) -> None:
        """Starts the processes, which import what they need while the server starts, and asks load machines to join."""
        for process in range(self._plan.load_processes):
            name = f"load-{process}"
            child = Child(
                name, [sys.executable, *MODULE, "harness.load"], self._rundir.log(name), run_id=self._rundir.run_id, piped=True
            )
            self._started.append((child, Talk(child, self._tick)))
        if self._machines is not None:
            self._machines.start()

    def give(self, templates: Sequence[Mapping[str, Any]], address: tuple[str, int], run_tag: int) -> None:
        """Gives each its job: what to send, and where to. Waits for load machines to join. Raises RunError."""
        joined = self._machines.wait_for_all() if self._machines is not None else {}
        self.n_processes = len(self._started) + sum(joined.values())
        replay = None if self._plan.replay is None else packed_times(read_replay(dict(self._plan)).due_ns)

        def job(process: int) -> dict[str, Any]:
            return load_job(
                self._plan,
                templates,
                process=process,
                processes=self.n_processes,
                address=address,
                run_tag=run_tag,
                rows=self._rundir.requests(process),
                replay=replay,
                ceiling_per_s=self._ceiling_per_s,
            )

        for process, (_, talk) in enumerate(self._started):
            talk.say(job(process))
        if self._machines is not None:
            numbers = iter(range(len(self._started), self.n_processes))
            jobs = {machine: [_for_elsewhere(job(next(numbers))) for _ in range(n)] for machine, n in joined.items()}
            self._machines.give(jobs, without_secrets(self._plan, templates, os.environ))

    def planned(self) -> int:
        """Waits until all are ready. How many requests they have in their schedules. Raises RunError."""
        ready = [talk.hear(_READY_S, "before it was ready") for _, talk in self._started]
        told = [(each["planned"], each.get("schedule")) for each in ready]
        told += self._machines.ready() if self._machines is not None else []
        schedules = {schedule for _, schedule in told}
        if len(schedules) > 1:
            raise RunError(
                f"the load processes made {len(schedules)} different schedules of one plan, so that none was sent",
                "with load machines: install the same version of numpy on all (see load_machine_joined in events.jsonl)",
            )
        (self.schedule,) = schedules
        return sum(planned for planned, _ in told)

    def begin(self) -> int:
        """Tells all the same start, and returns it, monotonic ns."""
        self.start_ns = time.monotonic_ns() + (_LEAD_NS if self._machines is None else _LEAD_ELSEWHERE_NS)
        self.end_ns = self.start_ns + int(self._plan.for_s * 1e9)
        if self._machines is not None:
            self._machines.begin(self.start_ns, self._note)
        for _, talk in self._started:
            talk.say({"t0_ns": self.start_ns})
        return self.start_ns

    def finish(self) -> None:
        """Waits until all have sent what they had to, and writes down what they report. Raises ChildDied or ChildNotReady."""
        # In the closed model users are waited for first, and what they left in flight then.
        patience_s = self._plan.request_timeout_s * (2 if self._plan.is_closed else 1) + _PATIENCE_S
        for process, (child, _) in enumerate(self._started):
            report = self._report_of(process, child, patience_s)
            ended = child.wait(patience_s, self._tick)
            self._note({"process": process, **report, "exit_status": ended.status if ended else -1})
        if self._machines is not None:
            self._machines.finish(self._left_s() + patience_s + _PATIENCE_S)

    @property
    def is_over(self) -> bool:
        """Whether all of those here have sent what they had to, so that the load has ended whatever the time is."""
        return bool(self._started) and all(self._has_ended(process) for process in range(len(self._started)))

    @property
    def is_partly_over(self) -> bool:
        """Whether one of them has: then the load cannot be changed any more."""
        return any(self._has_ended(process) for process in range(len(self._started)))

    @property
    def are_all_here(self) -> bool:
        """Whether no other machine takes part."""
        return self._machines is None

    def say_to_all(self, message: dict[str, Any]) -> None:
        """Says something to each of those here."""
        for _, talk in self._started:
            talk.say(message)

    def answers(self, what: str, number: str) -> list[dict[str, Any]]:
        """What those here have answered: the messages in which `what` is `number`."""
        self._hear()
        return [each for each in self._answers if each.get(what) == number]

    def raise_if_one_died(self) -> None:
        """Raises ChildDied if one ended before its time."""
        for child, _ in self._started:
            # Status 0 is the end of its load; what it reports is read in `finish`.
            if (ended := child.poll()) is not None and ended.status != 0:
                raise child.died("in the middle of the load")
        if self._machines is not None:
            self._machines.poll()

    def total(self, gauge: Gauge) -> int:
        """The sum of one gauge of theirs, as it is now. Of load machines only what the run's progress is shown by."""
        elsewhere = self._machines.total(_ELSEWHERE[gauge]) if self._machines is not None and gauge in _ELSEWHERE else 0
        return sum(page.gauge(gauge) for page in self._live()) + elsewhere

    def stop(self) -> None:
        """Stops all that still run: each is asked, waited for, and forced."""
        with contextlib.ExitStack() as steps:
            if self._machines is not None:
                steps.callback(self._machines.stop)
            for child, talk in self._started:
                steps.callback(self._stop_one, child, talk)

    @property
    def processes(self) -> list[Child]:
        """Those that were started here, in the order of their row files."""
        return [child for child, _ in self._started]

    def close(self) -> None:
        """Closes the pages."""
        for page in self._pages:
            page.close()
        self._pages.clear()

    def _has_ended(self, process: int) -> bool:
        return process in self._reports or self._started[process][0].poll() is not None

    def _left_s(self) -> float:
        return max(0.0, self.end_ns / 1e9 - time.monotonic())

    def _report_of(self, process: int, child: Child, patience_s: float) -> dict[str, Any]:
        """Waits for what one says at its end. Raises ChildDied or ChildNotReady."""
        began = time.monotonic()
        while True:
            # First whether it has ended, then what it said: its last line could come between the other way round.
            ended = child.poll() is not None
            self._hear()
            if process in self._reports:
                return self._reports[process]
            if ended:
                raise child.died("in the middle of the load")
            # The end may have been put off meanwhile.
            if (now := time.monotonic()) > max(began, self.end_ns / 1e9) + patience_s:
                raise child.not_ready(now - began)
            self._tick()
            time.sleep(_POLL_S)

    def _hear(self) -> None:
        for process, (_, talk) in enumerate(self._started):
            while (said := talk.listen()) is not None:
                if "done" in said:
                    self._reports[process] = said
                else:
                    self._answers.append(said)

    def _stop_one(self, child: Child, talk: Talk) -> None:
        if child.poll() is None:
            # It sends nothing more and waits for what is in flight; its standard input must stay open for that.
            talk.say({"stop": True})
            child.wait(_HURRY_S, self._tick)
        child.stop(_HURRY_S)

    def _note(self, report: Mapping[str, Any]) -> None:
        process = report["process"]
        self._events.write("load_done", process=process, **{key: report[key] for key in _REPORTED if key in report})
        if "users" in report:
            told = {key: report.get(key, []) for key in ("user_errors", "notes")}
            self._events.write("users_done", process=process, users=report["users"], left=report.get("users_left", 0), **told)

    def _live(self) -> list[LivePage]:
        while len(self._pages) < len(self._started):
            try:
                self._pages.append(LivePage(self._rundir.requests(len(self._pages))))
            except (OSError, RowFileError):
                # Not created yet: the load process is still importing.
                break
        return self._pages


def _for_elsewhere(job: Mapping[str, Any]) -> dict[str, Any]:
    """The job without what is of this machine, or is the same for all and is sent once."""
    return {key: value for key, value in job.items() if key not in {"rows", "templates", "locustfile", "ceiling_per_s"}}
