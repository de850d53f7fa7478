"""One run: start -> load, with faults -> recover -> drain -> stop; then judged from what the witnesses wrote.

The session does one thing at a time, on one thread; whatever it waits for, it goes on sampling gauges and showing
progress (`_tick`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from harness.calibration import Calibration, measuring
from harness.ceilings import known_ceiling
from harness.control.steering import Steering
from harness.disturbances import WorldControl
from harness.engines import Engine, engine_of
from harness.environment import describe_environment
from harness.errors import Interrupted, RunError
from harness.evidence import judged_run
from harness.faulting import Faulting
from harness.faultmaking import FaultMaker, require_known
from harness.gauges import GaugeSampler, Readings
from harness.host import Host, Throttled
from harness.leftovers import tidy_rows, tidy_world
from harness.loads import Loads
from harness.machine import MachineSampler
from harness.pages import waiting_and_running
from harness.plan import Plan
from harness.ports import require_free
from harness.processes import Child, Heard, Janitor, adopt_orphans, only_if_asked_twice, told_to_end
from harness.progress import Progress, Standing
from harness.replays import peak_of
from harness.report.writing import write_page
from harness.rows import Gauge
from harness.rundir import EventLog, RunDir
from harness.scenario import check_scenario, describe_scenario, entry_of, keep_source, traffic_of, world_command
from harness.schema import Summary
from harness.servers import ServerUnderTest
from harness.summary import Judged
from harness.talk import Talk
from harness.traffic.jobs import requested_templates
from harness.traffic.prepare import check_traffic, generated_templates
from harness.wording import bytes_of

__all__ = ["Outcome", "describe", "describe_scenario", "run"]

_READY_S = 30.0
_WORLD_GRACE_S = 15.0
_QUIET_POLL_S = 0.02
_PATIENCE = "what was measured is being judged, a moment; once more to leave that to afterload report"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run that is over."""

    rundir: RunDir
    judged: Judged
    interrupted_by: int | None  # number of the signal
    asked_to_end: int | None = None  # the same, or one that came when nothing was left to interrupt: for whoever makes more runs

    @property
    def summary(self) -> Summary:
        """The figures and the verdict."""
        return self.judged.summary


def describe(plan: Plan) -> dict[str, Any]:
    """What is known of the app in advance. Raises UsageError for an unknown scenario or setting."""
    if plan.scenario is not None:
        return describe_scenario(plan.scenario, plan.tasks or "sync", plan.settings, plan.seed)
    check_traffic(plan)
    # Somebody's own app: what it does with a request is what the run is to find out.
    nothing = {"tasks_per_request": 0, "effects_per_request": 0}
    return {"name": plan.title, "expects": nothing, "traffic": []}


def run(
    plan: Plan,
    scenario: dict[str, Any],
    *,
    out: Path | None = None,
    progress: Progress | None = None,
    engine: Engine | None = None,
    keep_world: bool = False,
) -> Outcome:
    """Runs `plan`. Raises RunError if it could not even begin to measure; everything later ends in a summary that says so."""
    session_progress = progress or Progress()
    peak_per_s = peak_of(plan)
    calibration = None
    if plan.load_processes:
        # Each load machine brings a process at least; what its own can send is that machine's to know.
        here_per_s = None if peak_per_s is None else peak_per_s * plan.load_processes / (plan.load_processes + plan.expect_loads)
        calibration = known_ceiling(here_per_s, plan.load_processes, insist=plan.above_ceiling, say=session_progress.event)
    require_free(plan.port, plan.host)
    chosen = engine or engine_of(plan)
    rundir = RunDir.create(plan.title, out)
    rundir.plan.write_text(plan.to_toml(), encoding="utf-8")
    keep_source(plan, rundir)
    if "traffic" not in scenario:
        scenario = {**scenario, "traffic": traffic_of(plan, rundir)}
    rundir.scenario.write_text(json.dumps(scenario, indent=1), encoding="utf-8")
    rundir.environment.write_text(json.dumps(describe_environment(Path(plan.cwd or ".")), indent=1), encoding="utf-8")
    session = _Session(plan, scenario, rundir, session_progress, chosen, calibration)
    # May wait for others that measure: a Ctrl-C ends that as ever.
    turn = contextlib.ExitStack()
    turn.enter_context(measuring(session_progress.event))
    # Around the run too, so that there is no moment between it and its judgement at which a Ctrl-C costs the summary.
    with only_if_asked_twice(_PATIENCE) as heard:
        with turn:
            interrupted_by = session.run(heard)
        judged = _judge(plan, scenario, rundir, session_progress.event, is_whole=interrupted_by is None)
        if not keep_world and (removed := tidy_world(rundir, judged.summary)):
            session_progress.event(f"the world's files were removed ({bytes_of(removed)}); --keep-world keeps them")
    return Outcome(rundir, judged, interrupted_by, interrupted_by or session.asked_when_over or heard.number)


def _judge(plan: Plan, scenario: Mapping[str, Any], rundir: RunDir, say: Callable[[str], None], *, is_whole: bool) -> Judged:
    """What becomes of the rows once nothing moves any more: checked, judged, written down."""
    tidy_rows(rundir)
    if is_whole and scenario.get("has_check"):
        # From the rows and from what is left in the world.
        try:
            check_scenario(plan, rundir)
        except RunError as error:
            rundir.note_problem(f"the scenario's own check failed: {error}")
            say(f"error: {error}")
    judged = judged_run(rundir)
    try:
        rundir.summary.write_text(judged.summary.model_dump_json(indent=1), encoding="utf-8")
        write_page(judged, rundir)
    except OSError as error:
        # They can be made again from the rest, which is there.
        say(f"error: cannot write {error.filename}: {error.strerror}")
    return judged


class _Session:
    """The processes of one run and the order in which things happen to them."""

    def __init__(
        self,
        plan: Plan,
        scenario: dict[str, Any],
        rundir: RunDir,
        progress: Progress,
        engine: Engine,
        calibration: Calibration | None,
    ) -> None:
        self._plan = plan
        self._scenario = scenario
        self._rundir = rundir
        self._progress = progress
        self._engine = engine
        self._events = EventLog(rundir.events)
        self._run_tag = secrets.randbelow((1 << 31) - 1) + 1
        self._sampler = GaugeSampler(rundir.gauges())
        self._machine = MachineSampler(rundir.machine())
        self._phase = "start"
        ceiling_per_s = None if calibration is None else calibration.ceiling_per_s / calibration.processes
        self._loads = Loads(plan, rundir, self._events, self._tick, progress.event, ceiling_per_s=ceiling_per_s)
        self._calibration = calibration
        self._steering = Steering(plan, rundir, self._events, self._loads, progress.event, calibration)
        self._interrupted_by: int | None = None
        self.asked_when_over: int | None = None
        self._stopping = False
        self._is_over = False
        self._world: Child | None = None
        self._world_control: WorldControl | None = None
        self._server: ServerUnderTest | None = None
        self._faulting: Faulting | None = None

    def run(self, heard: Heard) -> int | None:
        """The whole run. Returns the signal that interrupted it, if one did. `heard`: one that came before this listened."""
        self._events.write("run", run_tag=self._run_tag, plan=self._plan.model_dump(mode="json"))
        if self._calibration is not None:
            self._events.write("calibration", **dataclasses.asdict(self._calibration))
        try:
            with Janitor(self._rundir.run_id), adopt_orphans(), told_to_end(self._on_signal):
                if heard.number is not None:
                    self._interrupted_by, heard.number = heard.number, None
                try:
                    self._measure()
                except Interrupted as interrupted:
                    self._events.write("interrupted", signal=interrupted.signal.name)
                    self._progress.event(f"{interrupted}: stopping everything that was started")
                except RunError as error:
                    # What has been measured so far is kept and judged; it cannot pass.
                    self._events.write("problem", text=str(error))
                    if not self._loads.start_ns:
                        raise
                    self._progress.event(f"error: {error}")
                finally:
                    self._stop()
                    self._steering.close()
                    self._is_over = True
                    self._events.write("end")
            return self._interrupted_by
        finally:
            self._sampler.close()
            self._machine.close()
            self._progress.close()
            self._loads.close()
            self._events.close()
            if self._events.error is not None:
                self._progress.event(f"error: cannot write {self._rundir.events}: {self._events.error.strerror}")

    def _measure(self) -> None:
        self._enter("start")
        self._server = ServerUnderTest(
            self._engine,
            self._rundir,
            self._events,
            port=self._plan.port,
            host=self._plan.host,
            scenario="{}",
            tick=self._tick,
        )
        self._steering.server = self._server
        # First, because they import the most: nothing waits for them until there is a server to load.
        self._loads.start()
        if self._plan.scenario is not None:
            addresses = self._start_world()
            self._steering.entry = lambda kind: entry_of(self._plan, addresses, kind)
            self._server.tell_scenario(entry_of(self._plan, addresses))
            require_known(self._plan.fault_plans, self._world_control, self._plan.scenario)
        self._server.start()
        # Not before the server is ready: what it can be asked may have to be read from itself.
        self._give_jobs(self._server.port)
        self._progress.event(f"server: boot 1 is ready (pid {self._pid()}), load starts")
        self._begin_load()
        self._faulting = self._faults(self._server)
        self._steering.faulting = self._faulting
        throttled = Host().throttled
        self._faulting.run(self._loads.start_ns, lambda: self._loads.end_ns, lambda: self._loads.is_over)
        self._loads.finish()
        self._note_throttling(throttled)
        self._enter("drain")
        self._drain()

    def _note_throttling(self, before: Throttled | None) -> None:
        """Whether the control group stopped the run while load was sent."""
        now = Host().throttled
        if before is not None and now is not None:
            over_ns = time.monotonic_ns() - self._loads.start_ns
            self._events.write("throttled", times=now.times - before.times, period_ns=now.period_ns, over_ns=over_ns)

    def _start_world(self) -> dict[str, str]:
        command = world_command(self._plan, self._rundir)
        self._world = Child("world", command, self._rundir.log("world"), run_id=self._rundir.run_id, piped=True)
        talk = Talk(self._world, self._tick)
        ready = talk.hear(_READY_S, "before it was ready")
        self._world_control = WorldControl(talk, ready.get("faults", ()))
        addresses: dict[str, str] = ready["addresses"]
        return addresses

    def _faults(self, server: ServerUnderTest) -> Faulting:
        maker = FaultMaker(server, self._rundir, self._events, self._world_control, self._world, self._loads)
        return Faulting(
            self._plan.fault_plans,
            server,
            self._events,
            make=maker.make,
            reading=Readings(server, self._sampler, self._loads),
            tick=self._tick,
            tell=self._progress.event,
            enter=self._enter,
        )

    def _give_jobs(self, port: int) -> None:
        told = ({key: value for key, value in each.items() if key != "has_tasks"} for each in self._scenario["traffic"])
        templates = list(told) or requested_templates(self._plan, os.environ)
        if self._plan.openapi is not None:
            made, about = generated_templates(self._plan, f"http://{self._plan.host}:{port}", self._rundir, self._tick)
            self._events.write("traffic_made", **about)
            self._progress.event(
                f"traffic: {about['variants']} variants of {about['operations']} operations, from {about['source']}"
            )
            for each in about["left_out"]:
                self._progress.event(f"traffic: {each['operation']} is left out: {each['why']}")
            templates = [*templates, *made]
        self._loads.give(templates, (self._plan.host, port), self._run_tag)

    def _begin_load(self) -> None:
        planned = self._loads.planned()
        start_ns = self._loads.begin()
        self._rundir.make_latest()
        self._events.write(
            "load_started",
            load_start_ns=start_ns,
            load_end_ns=self._loads.end_ns,
            planned=planned,
            schedule=self._loads.schedule,
            processes=self._loads.n_processes,
        )
        self._enter("load")

    def _drain(self) -> None:
        assert self._server is not None
        end = time.monotonic() + self._plan.horizon_s
        while self._server.pending():
            if time.monotonic() > end:
                queued, running = self._server.unfinished()
                text = (
                    f"the backlog was not worked off within {self._plan.horizon_s:g} s after the load: {queued} tasks were queued"
                    f" and {running} running when the run ended; what became of them is not the server's doing"
                )
                self._events.write("problem", text=text)
                return
            self._tick()
            time.sleep(_QUIET_POLL_S)

    def _stop(self) -> None:
        """Load, then server, then world: so each witness outlives what it is to witness."""
        was_interrupted = self._interrupted_by is not None
        self._stopping = True
        self._enter("stop")
        # Each step is done, whatever becomes of the others; the last one given is the first one done.
        with contextlib.ExitStack() as steps:
            if self._world is not None:
                steps.callback(self._world.stop, _WORLD_GRACE_S)
            if self._server is not None:
                steps.callback(self._server.close)
                steps.callback(self._server.stop, self._is_hurried)
            steps.callback(self._loads.stop)
            if self._faulting is not None:
                # Before all: a server that is stopped by SIGSTOP could neither answer what is in flight nor end.
                steps.callback(self._faulting.close)
        if self._interrupted_by is not None and not was_interrupted:
            self._events.write("interrupted", signal=signal.Signals(self._interrupted_by).name)

    def _is_hurried(self) -> bool:
        return self._interrupted_by is not None

    def _wait_until(self, at_ns: int) -> None:
        while (left_ns := at_ns - time.monotonic_ns()) > 0:
            self._tick()
            time.sleep(min(left_ns / 1e9, 0.01))

    def _tick(self) -> None:
        if self._interrupted_by is not None and not self._stopping:
            raise Interrupted(self._interrupted_by)
        self._machine.sample()
        server = self._server
        if self._faulting is not None:
            self._faulting.on_tick()
        self._steering.on_tick()
        if server is None or not self._sampler.sample(server.boot, server.pages, server.process, self._loads.total(Gauge.CPU)):
            return
        self._check_nobody_died(server)
        self._show(server)

    def _check_nobody_died(self, server: ServerUnderTest) -> None:
        if self._phase not in {"load", "drain"}:
            return
        is_explained = self._faulting is not None and self._faulting.explains_death
        if not is_explained and (death := server.note_own_death()):
            raise RunError(death)
        for pid in server.note_dead_workers():
            self._progress.event(
                f"{self._at_s():6.1f} s  process {pid} of boot {server.boot} ended on its own; the server goes on"
            )
        if self._world is not None and self._world.poll() is not None:
            raise self._world.died("in the middle of the run")
        self._loads.raise_if_one_died()

    def _show(self, server: ServerUnderTest) -> None:
        if not self._loads.start_ns:
            return
        pages = server.pages
        # What a worker that died has left waits for nobody any more; of a server that is down, it is what there is to see.
        count = pages.now if server.is_up else pages.total
        waiting, running = waiting_and_running(count)
        self._progress.standing(
            Standing(
                at_s=self._at_s(),
                phase=self._phase,
                sent=self._loads.total(Gauge.ACCEPTED),
                answered=self._loads.total(Gauge.STARTED),
                queued=waiting if pages.any else None,
                running=running,
                pool_busy=pages.now(Gauge.POOL_BUSY),
                pool_size=pages.now(Gauge.POOL_SIZE),
                up=server.is_up,
            )
        )

    def _enter(self, phase: str) -> None:
        self._phase = phase
        self._events.write("phase", name=phase)

    def _at_s(self) -> float:
        return (time.monotonic_ns() - self._loads.start_ns) / 1e9

    def _pid(self) -> int:
        return self._server.child.pid if self._server is not None and self._server.child is not None else 0

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._is_over and self._interrupted_by is None:
            # There is nothing left to interrupt.
            self.asked_when_over = number
            return
        if self._interrupted_by is not None:
            # A second one: leave at once. What is left is the janitor's, and the run can be judged from its directory.
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._interrupted_by = number
