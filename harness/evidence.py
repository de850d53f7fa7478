"""Reading a run directory back: events and rows into the evidence that accounting, statistics and verdict work on.

The session itself judges its run by this, so a run judged later, or one whose session was killed, goes the very same way.
"""

from __future__ import annotations

import contextlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.faults import KINDS, occurrences
from harness.faultsyntax import parse_fault
from harness.histograms import HistogramError, read_counted
from harness.interpreters import server_versions
from harness.model import (
    Boot,
    CountedLoad,
    Evidence,
    Expectation,
    Fault,
    Figure,
    GeneratorReport,
    LoadChanged,
    Note,
    ScenarioCheck,
    SurvivingProcess,
    Throttling,
    UsersReport,
)
from harness.rows import Gauge, Kind, NotBegun, RowFile, RowFileError, read_rows
from harness.rundir import EventLog, RunDir
from harness.scenario import is_file
from harness.schema import Summary
from harness.steered import load_changes_in, steered_in
from harness.summary import Judged, judge_evidence
from harness.tracebacks import errors_in

__all__ = ["counted_of", "evidence_of", "judge_run", "judged_run", "last_of", "lost_rows_of", "notes_of", "read_evidence"]


def judge_run(rundir: RunDir, changes: Mapping[str, Any] | None = None) -> Summary:
    """Judges a run from its directory; `changes` are keys of its plan to judge it by, e.g., other limits.

    Raises UsageError if the directory holds no run.
    """
    return judged_run(rundir, changes).summary


def judged_run(rundir: RunDir, changes: Mapping[str, Any] | None = None) -> Judged:
    """The same, with what a report is made from."""
    if rundir.dropped.exists():
        raise UsageError(
            f"{rundir.path} cannot be judged again: its rows were removed when a comparison had taken its figures",
            "its summary.json and report.html are complete; afterload compare --keep-runs keeps the rows as well",
        )
    try:
        plan = {**tomllib.loads(rundir.plan.read_text(encoding="utf-8")), **(changes or {})}
        environment = json.loads(rundir.environment.read_text(encoding="utf-8"))
        if server := server_versions(rundir):
            environment["server"] = server
        return judge_evidence(read_evidence(rundir), plan, environment)
    except FileNotFoundError as error:
        name = Path(error.filename or "").name
        raise UsageError(f"{rundir.path} holds no run that can be judged: {name} is missing") from None


def read_evidence(rundir: RunDir) -> Evidence:
    """Everything that was written down. A file that cannot be read becomes a problem, not an error: the rest still counts."""
    events = list(EventLog.read(rundir.events))
    scenario = json.loads(rundir.scenario.read_text(encoding="utf-8"))
    plan = tomllib.loads(rundir.plan.read_text(encoding="utf-8"))
    unreadable: list[str] = []
    files = [_read(path, unreadable) for path in sorted(rundir.path.glob("*.rows"))]
    if last_of(events, "run") is None:
        raise UsageError(f"{rundir.path} holds no run that can be judged: events.jsonl does not begin with one")
    try:
        found = evidence_of(events, plan, scenario, [file for file in files if file is not None])
    except (KeyError, TypeError, ValueError, AssertionError, AttributeError) as error:
        what = f"there is no {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        raise UsageError(
            f"{rundir.path} cannot be judged: its events, plan or scenario are not as they are written: {what}",
            "were they changed, or written by another version?",
        ) from error
    if last_of(events, "end") is None:
        found = replace(found, load_end_ns=_last_sent_ns(found))
    problems = [*found.problems, *unreadable]
    problems += _missing_ends(events, found, is_whole=not problems)
    counted = counted_of(rundir, float(plan["warm_up_s"]), problems)
    return replace(
        found,
        counted=counted,
        lost_rows_of=lost_rows_of(events, rundir),
        notes=notes_of(rundir),
        errors=errors_in(sorted(rundir.path.glob("server-*.log"))),
        problems=problems,
        check=_check(rundir, has_check=scenario.get("has_check")),
    )


def evidence_of(
    events: list[dict[str, Any]], plan: Mapping[str, Any], scenario: Mapping[str, Any], files: Sequence[RowFile]
) -> Evidence:
    """What events and row files say, also of a run that goes on. The first event must be the run's."""
    tasks: dict[int, list[RowFile]] = {}
    for file in files:
        if file.kind is Kind.TASKS:
            tasks.setdefault(file.boot, []).append(file)
    load = last_of(events, "load_started")
    changes = load_changes_in(events)
    run = last_of(events, "run")
    assert run is not None
    interrupted = last_of(events, "interrupted")
    return Evidence(
        run_tag=run["run_tag"],
        load_start_ns=load["load_start_ns"] if load else run["t_ns"],
        load_end_ns=_load_end_ns(events, load, changes) if load else run["t_ns"],
        planned_requests=changes[-1].planned if changes else load["planned"] if load else 0,
        expectation=Expectation(
            **scenario["expects"],
            idle=frozenset(each["name"] for each in scenario["traffic"] if not each.get("has_tasks", True)),
            answers_are_known=plan.get("scenario") is not None and not is_file(plan["scenario"]),
        ),
        requests=[file for file in files if file.kind is Kind.REQUESTS],
        tasks=tasks,
        effects=[file for file in files if file.kind is Kind.EFFECTS],
        boots=_boots(events, tasks),
        faults=_faults(events),
        generators=[
            GeneratorReport(
                **{key: value for key, value in event.items() if key not in {"t_ns", "event", "stalls"}},
                stalls=tuple((float(from_s), float(length_s)) for from_s, length_s in event.get("stalls", ())),
            )
            for event in events
            if event["event"] == "load_done"
        ],
        n_load_processes=load.get("processes") or plan.get("load_processes", 1) if load else 0,
        is_closed=plan.get("users") is not None or plan.get("locustfile") is not None,
        users=[
            UsersReport(
                process=event["process"],
                users=event["users"],
                left=event["left"],
                user_errors=[(error["text"], error["count"]) for error in event["user_errors"]],
                notes=event["notes"],
            )
            for event in events
            if event["event"] == "users_done"
        ],
        lag_floor_ms=(last_of(events, "calibration") or {}).get("lag_p99_ms"),
        warm_up_s=float(plan["warm_up_s"]),
        planned_faults=_planned(plan),
        steered=steered_in(events),
        load_changes=changes,
        planned_end_ns=load["load_end_ns"] if load else None,
        interrupted_by=interrupted["signal"] if interrupted else None,
        gauges=next((file for file in files if file.kind is Kind.GAUGES), None),
        machine=next((file for file in files if file.kind is Kind.MACHINE), None),
        throttling=_throttling(last_of(events, "throttled")),
        problems=[event["text"] for event in events if event["event"] == "problem"],
        scenario=scenario["name"],
        effect_names=tuple(scenario.get("effects", ())),
    )


def _load_end_ns(events: Sequence[Mapping[str, Any]], load: Mapping[str, Any], changes: Sequence[LoadChanged]) -> int:
    """When it was to end; or earlier, if something else came between: an interrupt, a death, a load shape that was over."""
    meant_ns: int = changes[-1].load_end_ns if changes else load["load_end_ns"]
    over = (int(each["t_ns"]) for each in events if each["event"] == "phase" and each["name"] in {"drain", "stop"})
    over_ns = next((t_ns for t_ns in over if t_ns > load["t_ns"]), meant_ns)
    return max(min(meant_ns, over_ns), int(load["load_start_ns"]))


def _last_sent_ns(found: Evidence) -> int:
    """When a load ended whose session did not live to tell."""
    sent = [int(file.rows["sent_ns"].max()) for file in found.requests if len(file.rows)]
    return max(min(found.load_end_ns, max(sent, default=found.load_end_ns)), found.load_start_ns)


def _throttling(event: Mapping[str, Any] | None) -> Throttling | None:
    return None if event is None else Throttling(event["times"], event["period_ns"], event["over_ns"])


def _missing_ends(events: list[dict[str, Any]], found: Evidence, *, is_whole: bool) -> list[str]:
    """Who was never seen to end. `is_whole`: nothing else explains a load process that did not report."""
    problems = []
    if last_of(events, "end") is None:
        problems.append("the session did not reach its end: afterload itself was killed or crashed")
    else:
        problems += [f"boot {boot.boot} (pid {boot.pid}) was never seen to end" for boot in found.boots if boot.reaped_ns is None]
    n_reports = len(found.generators)
    if not found.interrupted_by and is_whole and not problems and n_reports < found.n_load_processes:
        problems.append(f"only {n_reports} of {found.n_load_processes} load processes reported their end")
    return problems


def counted_of(rundir: RunDir, warm_up_s: float, problems: list[str]) -> list[CountedLoad]:
    """Requests that came back as histograms; what cannot be read becomes a problem."""
    found = []
    for path in sorted(rundir.path.glob("requests-*.hdr.jsonl")):
        try:
            found.append(read_counted(path, warm_up_s))
        except (OSError, HistogramError) as error:
            problems.append(f"{path.name} cannot be read: {error}")
    return found


def lost_rows_of(events: list[dict[str, Any]], rundir: RunDir) -> frozenset[int]:
    """Load processes whose requests are known to have no rows here."""
    gone = {"load_machine_lost", "load_machine_left", "load_rows_lost"}
    numbers = {number for event in events if event["event"] in gone for number in event.get("load_processes", ())}
    return frozenset(number for number in numbers if not rundir.requests(number).exists())


def _check(rundir: RunDir, *, has_check: bool | None) -> ScenarioCheck | None:
    if has_check is False:
        return ScenarioCheck((), ())
    try:
        found = json.loads(rundir.check.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return ScenarioCheck(tuple(Figure(**figure) for figure in found["figures"]), tuple(found["problems"]))


def _faults(events: list[dict[str, Any]]) -> list[Fault]:
    """In the order in which they landed, or did not."""
    ends = {event["number"]: event for event in events if event["event"] == "fault_ended"}
    found = []
    for event in events:
        if event["event"] != "fault":
            continue
        end = ends.get(event.get("number"), {})
        found.append(
            Fault(
                name=event["name"],
                planned_s=event["planned_s"],
                landed_ns=event["landed_ns"],
                boot=event["boot"],
                detail="; ".join(text for text in (event["detail"], end.get("detail")) if text),
                text=event.get("text", ""),
                condition=event.get("condition"),
                met_ns=event.get("met_ns"),
                effect=KINDS[event["name"]].effect if event["name"] in KINDS else "ends",
                length_s=event.get("length_s"),
                ended_ns=end.get("ended_ns"),
                receipt={**event.get("receipt", {}), **end.get("receipt", {})},
                by_hand="command" in event,
            )
        )
    return found


def _planned(plan: Mapping[str, Any]) -> tuple[str, ...]:
    """Each single fault of the plan."""
    try:
        return tuple(map(str, occurrences([parse_fault(text) for text in plan.get("faults", ())], float(plan["for_s"]))))
    except ValueError:
        # A plan of another version: its faults are at least counted.
        return tuple(plan.get("faults", ()))


def _boots(events: list[dict[str, Any]], tasks: Mapping[int, Sequence[RowFile]]) -> list[Boot]:
    boots: dict[int, Boot] = {}
    own_deaths: dict[int, list[tuple[int, int]]] = {}
    for event in events:
        number = int(event.get("boot") or 0)
        if event["event"] == "boot_spawned":
            boots[number] = Boot(boot=number, pid=event["pid"], spawned_ns=event["spawned_ns"])
        if number not in boots:
            # It belongs to none, or the line of its start is damaged, which is a problem of the run.
            continue
        match event["event"]:
            case "boot_ready":
                boots[number] = replace(boots[number], ready_ns=event["ready_ns"])
            case "boot_frozen":
                boots[number] = replace(
                    boots[number],
                    frozen_ns=event["frozen_ns"],
                    predicted_queued=event["queued"],
                    predicted_running=event["running"],
                )
            case "boot_signalled":
                boots[number] = replace(
                    boots[number],
                    signal=event["signal"],
                    fault=event["fault"],
                    signalled_ns=event["signalled_ns"],
                    signalled_pid=event.get("pid"),
                )
            case "boot_reaped":
                boots[number] = replace(
                    boots[number],
                    reaped_ns=event["reaped_ns"],
                    exit_status=event["exit_status"],
                    forced=event["forced"],
                    served_to_the_end=event["served_to_the_end"],
                )
            case "boot_checked":
                boots[number] = replace(
                    boots[number],
                    port_free=event["port_free"],
                    survivors=tuple(SurvivingProcess(**survivor) for survivor in event["survivors"]),
                    orphans=tuple(SurvivingProcess(**orphan) for orphan in event["orphans"]),
                    orphans_served=event["orphans_served"],
                )
            case "worker_died":
                own_deaths.setdefault(number, []).append((event["pid"], event["t_ns"]))
            case "worker_ended":
                deaths = (*boots[number].worker_deaths, (event["pid"], event["ended_ns"]))
                boots[number] = replace(boots[number], worker_deaths=deaths)
    return [
        _with_its_words(_with_deaths(boot, own_deaths.get(number, ())), tasks.get(number, ())) for number, boot in boots.items()
    ]


def _with_deaths(boot: Boot, own: Sequence[tuple[int, int]]) -> Boot:
    """With the processes that ended on their own (pid and time) among those that ended while the boot went on.

    Those that ended when the whole boot did are neither: it may have ended because of what was done to one of them. A pid may
    come again, so that it does not say which of them it was.
    """
    over_ns = boot.reaped_ns if boot.signalled_pid is None else boot.signalled_ns

    def before(deaths: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
        return tuple(each for each in deaths if over_ns is None or each[1] < over_ns)

    return replace(boot, dead_workers=tuple(pid for pid, _ in before(own)), worker_deaths=before([*boot.worker_deaths, *own]))


def _with_its_words(boot: Boot, files: Sequence[RowFile]) -> Boot:
    # What the server itself said of its drain, in its gauge pages; said only once the drain had ended, of all its processes.
    if not files or not all(file.gauges[Gauge.DRAINED] for file in files):
        return boot
    return replace(
        boot,
        said_abandoned_queued=sum(file.gauges[Gauge.ABANDONED_QUEUED] for file in files),
        said_abandoned_running=sum(file.gauges[Gauge.ABANDONED_RUNNING] for file in files),
    )


def notes_of(rundir: RunDir) -> list[Note]:
    """What the probes said, in the order of their files."""
    found = []
    for path in sorted(rundir.path.glob("tasks-*.notes.jsonl")):
        named = re.fullmatch(r"tasks-(\d+)-(\d+)\.notes", path.stem)
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if named else ():
            # A process that was killed may have left half a line.
            with contextlib.suppress(ValueError, TypeError, AttributeError):
                said = json.loads(line)
                found.append(
                    Note(
                        boot=int(named[1]) if named else 0,
                        pid=int(named[2]) if named else 0,
                        kind=str(said.get("kind", "note")),
                        text=str(said.get("text", "")),
                        t_ns=int(said.get("began_ns") or said.get("t_ns", 0)),
                        blocked_ms=float(said.get("ms", 0.0)),
                        function=str(said.get("function", "")),
                        file=str(said.get("file", "")),
                        line=int(said.get("line", 0)),
                        inside=str(said.get("inside", "")),
                    )
                )
    return found


def _read(path: Path, problems: list[str]) -> RowFile | None:
    try:
        return read_rows(path)
    except NotBegun:
        # Its process was killed in the middle of its start: nothing had been accepted there.
        return None
    except (OSError, RowFileError) as error:
        problems.append(f"{path.name} cannot be read: {error}")
        return None


def last_of(events: Sequence[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """The last event of this name."""
    return next((event for event in reversed(events) if event["event"] == name), None)
