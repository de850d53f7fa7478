"""A run directory as it stood at any instant, read as it grows and shown as frames: of a run that goes on, or is long over."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from harness.accounting import account
from harness.control.sending import COMMANDS
from harness.errors import UsageError
from harness.evidence import counted_of, evidence_of, last_of, lost_rows_of, notes_of
from harness.live.allocating import give_back
from harness.live.cutting import cut
from harness.live.figures import Figures, edges_of, figures_at
from harness.live.finder import Finder
from harness.live.finding import MANY_ROWS, findings_at, found_at_ns
from harness.live.folding import Folding
from harness.live.frame import MOST_LISTED, Frame, Look, Newest, Phase, SideState, TaskLine
from harness.live.framing import Known, about_of, frame_of
from harness.live.journal import Journal
from harness.live.ledger import Ledger
from harness.live.logs import Logs
from harness.live.picking import only
from harness.live.seconds import seconds_of
from harness.live.shelf import Shelf
from harness.live.sides import client_states, work_states
from harness.live.standing import is_plain, standing_of
from harness.live.tasklist import task_lines
from harness.live.telling import tell
from harness.model import CountedLoad, Evidence, Expectation
from harness.rows import RowFile, RowFileError, read_rows
from harness.rundir import RunDir, is_held
from harness.schema import Finding, Summary

__all__ = ["BEHIND_NS", "History"]

BEHIND_NS: Final = 100_000_000
"""So long ago is "now": whoever took an instant has had the time to write it down."""

_MOST_KEPT: Final = 64
_NO_SCENARIO: Final[dict[str, Any]] = {"name": "", "expects": {"tasks_per_request": 0, "effects_per_request": 0}, "traffic": []}


class History:
    """Everything that one run has written so far."""

    def __init__(self, path: Path, folding: Folding | None = None) -> None:
        """`folding`: when what can be let go is; by itself after a while. Raises UsageError if there is no such directory."""
        if not path.is_dir():
            raise UsageError(f"there is no run directory {path}", "afterload runs lists those that there are")
        self._rundir = RunDir(path.resolve())
        self._journal = Journal(self._rundir.events)
        self._logs = Logs(self._rundir.path)
        self._shelf = Shelf(self._rundir.path)
        self._folding = folding or Folding()
        self._lengths_ns: tuple[int, ...] = ()  # of the bins that somebody looked at, when all was read again
        self._ledgers: dict[bool, Ledger] = {}  # for the newest instant, and for earlier ones
        self._scenario: dict[str, Any] | None = None
        self._environment: dict[str, Any] = {}
        self._found: dict[int, tuple[Finding, ...]] = {}
        self._finder = Finder(self._rundir.path)
        self._plan_text = ""
        self._summary: Summary | None = None
        self._problem = ""
        self._is_held = False
        self._is_strange = False
        self._n_looked_at = 0
        self._newest_ns = 0
        self._number = 0

    def close(self) -> None:
        """Lets all files go."""
        self._shelf.close()
        self._finder.close()

    def refresh(self) -> None:
        """Reads what is new. What is not there, or not yet, is no error."""
        now_ns = time.monotonic_ns()
        self._journal.refresh()
        # Not before its first event: a session claims its directory before that, and must not find it claimed.
        self._is_held = bool(self._journal.all) and is_held(self._rundir.path)
        if not self._is_held:
            # What it wrote last, before it let go.
            self._journal.refresh()
        self._logs.refresh()
        self._read_once()
        self._read_rows()
        if self._summary is None:
            self._read_summary()
        if self._has_ended:
            self._newest_ns = max(self._newest_ns, self._last_ns())
        else:
            self._newest_ns = max(now_ns - BEHIND_NS, self._first_ns())

    @property
    def is_final(self) -> bool:
        """It has been judged, and whoever did has let it go: nothing will be another next time."""
        return self._summary is not None and not self._is_held

    def frame(self, look: Look) -> Frame:
        """The run as it stood at `look.at_s`, as of the last `refresh`."""
        began_ns = time.thread_time_ns()
        self._number += 1
        newest_ns = self._newest_ns
        asked_ns = newest_ns if look.at_s is None else self._start_ns(newest_ns) + round(look.at_s * 1e9)
        at_ns = max(min(asked_ns, newest_ns), self._first_ns())
        self._look_at_events()
        known = self._known(look, at_ns, self._start_ns(at_ns))
        return frame_of(known, look, self._number, (time.thread_time_ns() - began_ns) / 1e6)

    def _known(self, look: Look, at_ns: int, start_ns: int) -> Known:
        events, is_newest = self._journal.until(at_ns), at_ns >= self._newest_ns
        plan = _plan_of(events)
        is_over = is_newest and self._has_ended
        evidence, figures, states = self._looked(look, at_ns, start_ns, is_newest=is_newest, is_over=is_over)
        pool = _pool_of(evidence)
        told = tell([] if self._is_strange else events, plan, figures.left, at_ns, start_ns, pool)
        phase = self._phase(told.phase, is_newest=is_newest)
        newest = Newest(phase, told.settings) if is_newest else self._newest(plan, start_ns)
        is_seen = bool(evidence.tasks) or plan.get("engine") != "command"
        return Known(
            about=about_of(
                self._rundir.path,
                _shown(self._rundir.path),
                plan,
                self._plan_text,
                (self._scenario or _NO_SCENARIO).get("kinds", ()),
                is_seen=is_seen,
                load_s=self._load_s(events, start_ns),
                can_be_steered=self._can_be_steered(newest.phase),
            ),
            told=told,
            phase=phase,
            newest=newest,
            evidence=evidence,
            figures=figures,
            client=states[0],
            work=states[1],
            tasks=self._tasks(evidence, look, at_ns, is_newest=is_newest),
            findings=self._findings(figures, at_ns, start_ns, is_newest=is_newest),
            log=self._logs.lines,
            summary=self._summary if is_newest else None,
            problem=self._problem,
            at_ns=at_ns,
            start_ns=start_ns,
            newest_ns=self._newest_ns,
        )

    def _newest(self, plan: dict[str, Any], start_ns: int) -> Newest:
        """While an earlier instant is shown. The pool is what the plan and the commands say: no samples are looked at."""
        events = [] if self._is_strange else self._journal.until(self._newest_ns)
        told = tell(events, plan, {}, self._newest_ns, start_ns, None)
        return Newest(self._phase(told.phase, is_newest=True), told.settings)

    def _can_be_steered(self, phase: Phase) -> bool:
        return self._is_held and phase in {Phase.START, Phase.LOAD} and (self._rundir.path / COMMANDS).exists()

    def _look_at_events(self) -> None:
        """Whether they can be understood: they may be of another version, or damaged."""
        events = self._journal.all
        if len(events) == self._n_looked_at:
            return
        self._n_looked_at = len(events)
        try:
            evidence_of(events, _plan_of(events), self._scenario or _NO_SCENARIO, [])
            tell(events, _plan_of(events), {}, self._newest_ns, self._start_ns(self._newest_ns), None)
            self._is_strange = False
        except (KeyError, TypeError, ValueError, AssertionError, AttributeError) as error:
            self._is_strange = True
            why = f"{type(error).__name__}: {error}"
            self._problem = f"events.jsonl cannot be understood ({why}): the run may be of another version of afterload"

    def _load_s(self, events: Sequence[dict[str, Any]], start_ns: int) -> float | None:
        """How long the load lasts, as it was changed last; None: it has not begun."""
        ends = [event["load_end_ns"] for event in events if event["event"] in {"load_started", "load_changed"}]
        return (ends[-1] - start_ns) / 1e9 if ends else None

    def _looked(
        self, look: Look, at_ns: int, start_ns: int, *, is_newest: bool, is_over: bool
    ) -> tuple[Evidence, Figures, tuple[SideState, SideState]]:
        """Evidence without rows, and what comes of all rows."""
        if self._shelf.is_folded and not is_newest:
            self._read_all_again()
        evidence = self._evidence(at_ns, self._shelf.files(at_ns))
        found = self._figures(evidence, look, at_ns, start_ns, is_newest=is_newest, is_over=is_over)
        if found is None:
            self._read_all_again()
            evidence = self._evidence(at_ns, self._shelf.files(at_ns))
            found = self._figures(evidence, look, at_ns, start_ns, is_newest=is_newest, is_over=is_over)
            assert found is not None, "nothing has been let go"
        elif is_newest and self._is_held and (ledger := self._ledgers.get(True)) is not None and ledger.until_ns == at_ns:
            # One of an earlier instant counts positions as they were.
            self._ledgers = {True: ledger}
            if self._folding.fold_if_due(self._shelf, ledger, evidence):
                give_back()
        return evidence, *found

    def _read_rows(self) -> None:
        if self._journal.all:
            over = {event["boot"] for event in self._journal.all if event["event"] == "boot_reaped"}
            self._shelf.refresh(int(self._journal.all[0].get("run_tag", 0)), over)

    def _read_all_again(self) -> None:
        """What was let go is needed after all."""
        ledger = self._ledgers.get(True)
        self._lengths_ns = () if ledger is None else ledger.lengths_ns
        self._shelf.close()
        self._shelf = Shelf(self._rundir.path)
        self._ledgers.clear()
        self._read_rows()

    def _figures(
        self, evidence: Evidence, look: Look, at_ns: int, start_ns: int, *, is_newest: bool, is_over: bool
    ) -> tuple[Figures, tuple[SideState, SideState]] | None:
        """Of evidence without rows: kept up to date where that can be done, else from all rows. None: some have been let go."""
        shelf = self._shelf
        if shelf.requests.is_missed:
            self._folding.be_careful()
            return None
        if is_plain(evidence, shelf.requests, shelf.works):
            standing = standing_of(evidence, shelf.works, self._first_ns(), is_over=is_over)
            ledger = self._ledgers.get(is_newest)
            if ledger is None or ledger.standing != standing or ledger.until_ns > at_ns:
                if shelf.is_folded:
                    return None
                ledger = Ledger(standing, shelf.requests, shelf.works, shelf.effects)
            if ledger.until_ns < at_ns:
                ledger.advance(at_ns)
            if ledger.is_late or ledger.is_missed:
                if ledger.is_missed:
                    self._folding.be_careful()
                if shelf.is_folded:
                    return None
                ledger = Ledger(standing, shelf.requests, shelf.works, shelf.effects)
                ledger.advance(at_ns)
            if not ledger.can_show(look):
                return None
            if is_newest and self._lengths_ns:
                # Whoever changes between two does not have all read again each time.
                for length_ns in self._lengths_ns:
                    ledger.bins_of(length_ns)
                self._lengths_ns = ()
            self._ledgers[is_newest] = ledger
            return ledger.figures(evidence, look), ledger.states(evidence.warm_up_s)
        whole = self._whole(at_ns)
        edges = edges_of(start_ns, look.from_s, look.until_s, look.bin_s, at_ns)
        seconds = seconds_of(whole, account(whole), at_ns)
        client, work = client_states(seconds, whole.warm_up_s), work_states(seconds)
        waiting = [SideState.WAITING]
        return figures_at(whole, at_ns, edges, heat=look.heat, is_over=is_over), ((client or waiting)[-1], (work or waiting)[-1])

    def _tasks(self, evidence: Evidence, look: Look, at_ns: int, *, is_newest: bool) -> tuple[TaskLine, ...]:
        if look.tasks is None:
            return ()
        shelf, ledger, most = self._shelf, self._ledgers.get(is_newest), min(look.n_tasks, MOST_LISTED)
        chosen = None
        if ledger is not None and ledger.until_ns == at_ns and is_plain(evidence, shelf.requests, shelf.works):
            chosen = ledger.of_status(look.tasks, most)
        if chosen is None:
            of_them = self._whole(at_ns)
        else:
            of_them = only(evidence, chosen, shelf.requests, shelf.works, shelf.effects, at_ns)
        return task_lines(of_them, look.tasks, most, at_ns)

    def _whole(self, at_ns: int) -> Evidence:
        """With all rows."""
        paths = sorted(self._rundir.path.glob("*.rows"))
        return self._evidence(at_ns, [file for path in paths if (file := _read(path)) is not None])

    def _evidence(self, at_ns: int, files: Sequence[RowFile]) -> Evidence:
        """Everything that was known at the instant."""
        events = self._journal.until(at_ns)
        evidence = _nothing(at_ns)
        if events and not self._is_strange:
            evidence = evidence_of(events, _plan_of(events), self._scenario or _NO_SCENARIO, files)
        notes = notes_of(self._rundir)
        lost = lost_rows_of(events, self._rundir)
        return cut(replace(evidence, notes=notes, lost_rows_of=lost, counted=self._counted(evidence.warm_up_s)), at_ns)

    def _counted(self, warm_up_s: float) -> list[CountedLoad]:
        """Of load machines whose requests came back as histograms: once the load is over, all at once."""
        if not self._has_ended:
            return []
        return counted_of(self._rundir, warm_up_s, [])

    def _findings(self, figures: Figures, at_ns: int, start_ns: int, *, is_newest: bool) -> tuple[Finding, ...]:
        """Those of the summary, once it is there; before that, those that could be told a moment ago."""
        if is_newest and self._summary is not None:
            return tuple(self._summary.findings)
        n_rows = figures.attempted + figures.accepted
        step_ns = found_at_ns(self._journal.until(at_ns), n_rows, at_ns, start_ns)
        if step_ns is None:
            return ()
        if is_newest and n_rows >= MANY_ROWS and step_ns not in self._found:
            return self._found_elsewhere(step_ns)
        if step_ns not in self._found:
            self._keep_found(step_ns, self._findings_at(step_ns))
        return self._found[step_ns]

    def found_at(self, at_ns: int) -> tuple[Finding, ...]:
        """What could be said at an instant, of a run that has not been judged; nothing else need have been read."""
        self._journal.refresh()
        self._is_held = is_held(self._rundir.path)
        self._read_once()
        self._look_at_events()
        return self._findings_at(at_ns)

    def _found_elsewhere(self, step_ns: int) -> tuple[Finding, ...]:
        """Those that are known, while newer ones are looked for."""
        taken = self._finder.take()
        if taken is not None:
            at_ns, found = taken
            # Where no process can be had, it is done here.
            self._keep_found(at_ns, self._findings_at(at_ns) if found is None else found)
        if step_ns not in self._found:
            self._finder.ask(step_ns)
        known = [instant for instant in self._found if instant <= step_ns]
        return self._found[max(known)] if known else ()

    def _keep_found(self, at_ns: int, found: tuple[Finding, ...]) -> None:
        if len(self._found) >= _MOST_KEPT:
            self._found.clear()
        self._found[at_ns] = found

    def _findings_at(self, at_ns: int) -> tuple[Finding, ...]:
        return findings_at(self._whole(at_ns), _plan_of(self._journal.until(at_ns)), self._environment)

    def _phase(self, told: Phase, *, is_newest: bool) -> Phase:
        if not is_newest or not self._journal.all:
            return told
        if self._summary is not None:
            return Phase.ENDED
        if told is Phase.JUDGE and self._is_held:
            return told
        return told if self._is_held else Phase.CRASHED

    @property
    def _has_ended(self) -> bool:
        """Nothing moves any more: the session has said so, or is not there."""
        if self._summary is not None or last_of(self._journal.all[-20:], "end") is not None:
            return True
        return bool(self._journal.all) and not self._is_held

    def _first_ns(self) -> int:
        return int(self._journal.all[0]["t_ns"]) if self._journal.all else 0

    def _start_ns(self, at_ns: int) -> int:
        """When the load began; the instant itself while that is not known."""
        load = last_of(self._journal.until(at_ns), "load_started")
        return at_ns if load is None else int(load["load_start_ns"])

    def _last_ns(self) -> int:
        """The last thing that was written down."""
        return max(self._journal.last_ns, self._shelf.last_ns())

    def _read_once(self) -> None:
        if self._scenario is None:
            with contextlib.suppress(OSError, ValueError):
                self._scenario = json.loads(self._rundir.scenario.read_text(encoding="utf-8"))
        if not self._plan_text:
            with contextlib.suppress(OSError, ValueError):
                self._plan_text = self._rundir.plan.read_text(encoding="utf-8")
        if not self._environment:
            with contextlib.suppress(OSError, ValueError):
                self._environment = json.loads(self._rundir.environment.read_text(encoding="utf-8"))

    def _read_summary(self) -> None:
        try:
            text = self._rundir.summary.read_bytes()
            self._summary = Summary.model_validate_json(text)
        except OSError:
            return
        except ValidationError as error:
            # Half written, or of another version.
            self._problem = "" if self._is_held else f"summary.json cannot be read: {error.error_count()} problems"


def _nothing(at_ns: int) -> Evidence:
    return Evidence(0, at_ns, at_ns, 0, Expectation(0, 0), (), {}, (), ())


def _plan_of(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    plan: dict[str, Any] = events[0].get("plan", {}) if events else {}
    return plan


def _pool_of(evidence: Evidence) -> int | None:
    """The threads of the server, as sampled last; None: nobody said."""
    if evidence.gauges is None:
        return None
    sizes = evidence.gauges.rows["pool_size"]
    known = sizes[sizes != 0]
    return int(known[-1]) if len(known) else None


def _read(path: Path) -> RowFile | None:
    try:
        return read_rows(path)
    except (OSError, RowFileError, ValueError):
        # Not begun yet, or gone, or damaged: the judgement at the end says so.
        return None


def _shown(path: Path) -> str:
    """As it is shortest."""
    with contextlib.suppress(ValueError, OSError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
