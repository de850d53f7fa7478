"""What the figures mean, in words: each with a name that stays, a severity, and its evidence. Pure: no clock, no files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, Literal

import numpy as np

from harness.accounting import Account
from harness.grouping import chunks, is_own
from harness.model import Boot, Evidence, Note
from harness.rows import DropReason, Outcome, RowFile, Rows
from harness.rowscan import left_in
from harness.verdict import unexplained
from harness.wording import at_s, counted, duration_ms, duration_s, listed

__all__ = ["FoundOut", "Severity", "find"]

Severity = Literal["info", "warning", "critical"]

LONG_BLOCK_MS: Final = 250.0
"""A shorter one may be a machine that had something else to do."""

_MOST_FUNCTIONS: Final = 3
_ORDER: Final[dict[Severity, int]] = {"critical": 0, "warning": 1, "info": 2}


@dataclass(frozen=True, slots=True)
class FoundOut:
    """One finding."""

    id: str
    severity: Severity
    text: str  # sentences: what happened, and what to do about it
    evidence: Mapping[str, Any] = field(default_factory=dict)


def find(evidence: Evidence, account: Account) -> tuple[FoundOut, ...]:
    """All findings, the gravest first."""
    found = [
        *_witness(evidence, account),
        *_no_tasks(account),
        *(finding for boot in sorted(evidence.boots, key=lambda each: each.boot) for finding in _of_a_boot(evidence, boot)),
        *_blocked(evidence),
        *_refused(evidence),
        *_not_run(evidence, account),
        *_closed(evidence, account),
        *_of_users(evidence),
    ]
    return tuple(sorted(found, key=lambda each: _ORDER[each.severity]))


def _witness(evidence: Evidence, account: Account) -> Iterator[FoundOut]:
    for text in dict.fromkeys(note.text for note in evidence.notes if note.kind == "unhooked"):
        yield FoundOut("unhooked", "warning", f"The probe could not hook everything: {text}.".replace("..", "."))
    if account.server_is_witness or account.inline:
        return
    numbers = {"acked": account.n_acked, "unseen": account.n_unseen}
    if not evidence.tasks:
        text = (
            "No process of the server was seen from inside: the figures are the client's alone, and what a restart loses cannot"
            " be told. The probe sees apps on Starlette (FastAPI) in CPython 3.10 and newer, and not under python -I, -E, -S."
        )
        yield FoundOut("server-unseen", "warning", text, numbers)
        return
    text = (
        f"The probe saw {account.n_acked + account.n_indeterminate - account.n_unseen:,} requests, and {account.n_acked:,} were"
        " acknowledged: some process of the server answers without it, and what that one loses cannot be told."
    )
    yield FoundOut("server-partly-unseen", "warning", text, numbers)


def _no_tasks(account: Account) -> Iterator[FoundOut]:
    """An app in which there was nothing to lose: most often the wrong endpoint, or work that the probe cannot see."""
    if account.inline or not account.server_is_witness or account.accepted or not account.n_acked:
        return
    text = (
        f"No background task was seen: {counted(account.n_acked, 'request was', 'requests were')} acknowledged, and none had one"
        " (BackgroundTasks, or an asyncio task that outlives the answer). Is it the right endpoint? What an app puts into a queue"
        " or a thread of its own is not seen."
    )
    yield FoundOut("no-tasks", "warning", text, {"acked": account.n_acked})


def _of_a_boot(evidence: Evidence, boot: Boot) -> Iterator[FoundOut]:
    files = evidence.tasks.get(boot.boot, ())
    at = at_s(None if boot.signalled_ns is None else (boot.signalled_ns - evidence.load_start_ns) / 1e9)
    queued, running = left_in(files)
    if boot.orphans:
        n = len(boot.orphans)
        went_on = "went on serving the port" if boot.orphans_served else "went on"
        how = f"{boot.signal} to process {boot.pid} alone at {at}" if boot.signal else f"The end of process {boot.pid}"
        text = (
            f"{how} ended it and not its children: {counted(n, 'process', 'processes')} {went_on} until afterload ended"
            f" {'it' if n == 1 else 'them'}. Whoever restarts this server has to end its whole process group."
        )
        who = [{"pid": each.pid, "command": each.command} for each in boot.orphans]
        yield FoundOut("orphans", "critical", text, {"boot": boot.boot, "processes": who, "served": boot.orphans_served})
    if boot.forced and boot.signal in {"SIGTERM", "SIGINT"}:
        yield _too_slow(evidence, boot, queued, running, at)
    for pid in boot.dead_workers:
        queued, running = left_in([file for file in files if file.pid == pid])
        with_it = f", with {queued:,} queued and {running:,} running tasks" if queued + running else ""
        text = f"Process {pid} of boot {boot.boot} ended on its own while the server went on{with_it}: see the server's log."
        numbers = {"boot": boot.boot, "pid": pid, "queued": queued, "running": running}
        yield FoundOut("worker-died", "critical", text, numbers)


def _too_slow(evidence: Evidence, boot: Boot, queued: int, running: int, at: str) -> FoundOut:
    waited_s = ((boot.reaped_ns or 0) - (boot.signalled_ns or 0)) / 1e9
    left = f" {queued:,} queued and {running:,} running tasks were lost with it." if queued + running else ""
    if boot.served_to_the_end:
        text = (
            f"Boot {boot.boot} ignored {boot.signal} at {at}: it listened until it was killed {duration_s(waited_s)} later.{left}"
            " A container that does so is killed at each deploy."
        )
        kind = "signal-ignored"
    else:
        text = (
            f"Boot {boot.boot} had not ended {duration_s(waited_s)} after {boot.signal} at {at}, and was killed.{left}"
            " Kubernetes gives a pod 30 s unless told otherwise."
        )
        kind = "stopped-too-slowly"
    numbers = {"boot": boot.boot, "signal": boot.signal, "waited_s": round(waited_s, 3), "queued": queued, "running": running}
    return FoundOut(kind, "critical" if left else "warning", text, numbers)


def _blocked(evidence: Evidence) -> Iterator[FoundOut]:
    """One finding per function that held an event loop."""
    by_function: dict[tuple[str, str], list[Note]] = {}
    ready_ns = {boot.boot: boot.ready_ns or 0 for boot in evidence.boots}
    for note in evidence.notes:
        # What happens while an app starts keeps nobody waiting, neither before the load nor after a restart in the middle of it.
        if note.kind == "blocked" and not 0 < note.t_ns < max(evidence.load_start_ns, ready_ns.get(note.boot, 0)):
            by_function.setdefault((note.function, note.file), []).append(note)
    for (function, _), notes in sorted(by_function.items(), key=lambda each: -max(note.blocked_ms for note in each[1])):
        worst = max(notes, key=lambda note: note.blocked_ms)
        where = f" ({worst.file}:{worst.line})" if worst.file else ""
        inside = f", inside {worst.inside}" if worst.inside else ""
        text = (
            f"{function or 'A call'}{where} held the event loop for up to {duration_ms(worst.blocked_ms)}{inside}: all that time"
            " the process answered nobody. Make it a def function, await an async client, or hand it to a thread."
        )
        numbers = {
            "function": function,
            "file": worst.file,
            "line": worst.line,
            "inside": worst.inside,
            "blocked_ms": round(worst.blocked_ms, 3),
        }
        yield FoundOut("loop-blocked", "critical" if worst.blocked_ms >= LONG_BLOCK_MS else "warning", text, numbers)


def _refused(evidence: Evidence) -> Iterator[FoundOut]:
    """Answers that are no success, by what they said: the first thing to look at where a run measured refusals.

    Of a scenario's requests, those that it means to have refused are left out: they are the ones without background work.
    """
    counts: Counter[tuple[int, str]] = Counter()
    for file in evidence.requests:
        for rows in chunks(file):
            said = rows[is_own(rows["op"], evidence.run_tag) & (rows["outcome"] == Outcome.REJ) & (rows["status"] != 0)]
            for (status, route), n in Counter(zip(said["status"].tolist(), said["route"].tolist(), strict=True)).items():
                name = file.names[route] if route < len(file.names) else ""
                if name not in evidence.expectation.idle:
                    counts[status, name] += n
    if not counts:
        return
    shown = [f"{_status(status)} to {name or 'a request'} ({n:,})" for (status, name), n in counts.most_common(_MOST_FUNCTIONS)]
    shown += [f"{len(counts) - _MOST_FUNCTIONS} more kinds"] if len(counts) > _MOST_FUNCTIONS else []
    what = counted(counts.total(), "request was", "requests were")
    text = f"{what} refused with an answer: {listed(shown)}. {_hint(counts.most_common(1)[0][0][0])}"
    answers = [{"status": status, "request": name, "times": n} for (status, name), n in counts.most_common()]
    yield FoundOut("refusals", "warning", text, {"refused": counts.total(), "answers": answers})


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"status {status}"


def _hint(status: int) -> str:
    if 300 <= status <= 399:
        return "A redirect is not followed: ask for the address that it leads to."
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return "Give credentials with --header."
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        return "The server limits what it takes."
    if 400 <= status <= 499:
        return "Are path, body and headers what the endpoint asks for? One such request by hand tells what it misses."
    return "The log of the server, in the run directory, may say why."


def _not_run(evidence: Evidence, account: Account) -> Iterator[FoundOut]:
    """Tasks that never started with no restart at all."""
    if account.skipped:
        raised = _functions(evidence, lambda rows: rows["failed_ns"] != 0)
        text = (
            f"{counted(account.skipped, 'later task')} never started because an earlier one of the same request raised"
            f" ({account.failed:,} raised{_named(raised)}). Let tasks catch their own errors, or add them one per request."
        )
        numbers = {"skipped": account.skipped, "failed": account.failed, "functions": dict(raised)}
        yield FoundOut("tasks-skipped", "critical", text, numbers)
    elif account.failed:
        raised = _functions(evidence, lambda rows: rows["failed_ns"] != 0)
        started = dict(_functions(evidence, lambda rows: rows["started_ns"] != 0))
        by_function = [(f"{name} ({n:,} of {started[name]:,})", n) for name, n in raised if name]
        text = (
            f"{counted(account.failed, 'task')} raised{_named(by_function)}. No client was told, for each had its answer before:"
            " only the log of the server, in the run directory, tells why."
        )
        yield FoundOut("tasks-failed", "warning", text, {"failed": account.failed, "functions": dict(raised)})
    if account.discarded:
        who = _functions(evidence, lambda rows: (rows["dropped_ns"] != 0) & (rows["reason"] == DropReason.DISCARDED))
        text = (
            f"{counted(account.discarded, 'task was', 'tasks were')} discarded{_named(who)}. The endpoint raised after it had"
            " added them, or answered with a response that has a background of its own, for which FastAPI drops the others. What"
            " must happen in any case cannot be a background task of the request."
        )
        yield FoundOut("tasks-discarded", "warning", text, {"discarded": account.discarded, "functions": dict(who)})


def _closed(evidence: Evidence, account: Account) -> Iterator[FoundOut]:
    """Requests whose connection was closed under them while the server was up."""
    ops = unexplained(evidence, account, closed=True)
    if not len(ops):
        return
    why = (
        f" {account.failed:,} tasks raised: uvicorn, for one, then closes the connection on which the task was asked for, and"
        " whatever request has followed on it gets no answer. Its work may have been done all the same."
        if account.failed
        else " Its log may say why."
    )
    were = "request was" if len(ops) == 1 else "requests were"
    text = f"{len(ops):,} {were} cut off: the server closed the connection instead of answering.{why}"
    numbers = {"requests": len(ops), "recovered": account.recovered, "failed_tasks": account.failed}
    yield FoundOut("connections-closed", "warning", text, numbers)


def _of_users(evidence: Evidence) -> Iterator[FoundOut]:
    """What the closed model means for the figures, and what a locustfile did."""
    if not evidence.is_closed:
        return
    n_users = sum(each.users for each in evidence.users)
    text = (
        f"The load was {counted(n_users, 'user')} who each waited for an answer before sending more (closed model): while the"
        " server stalled, they sent less, so the response times leave out what others would have waited. A --rate leaves it in."
    )
    yield FoundOut("closed-model", "info", text, {"users": n_users})
    errors: Counter[str] = Counter()
    for each in evidence.users:
        errors.update(dict(each.user_errors))
    for text, n in errors.most_common(_MOST_FUNCTIONS):
        what = f"The locustfile raised {counted(n, 'time')}: {text}. What its users did not send then is missing from the load."
        yield FoundOut("user-raised", "warning", what, {"where": text, "times": n})
    for note in dict.fromkeys(note for each in evidence.users for note in each.notes):
        yield FoundOut("traffic-note", "info", f"{note[0].upper()}{note[1:]}.", {})


def _functions(evidence: Evidence, chosen: Any) -> list[tuple[str, int]]:
    """The functions of chosen task rows of this run, and how many rows each has; the most frequent first."""
    counts: Counter[str] = Counter()
    for files in evidence.tasks.values():
        for file in files:
            for number, n in _per_function(file, evidence.run_tag, chosen):
                counts[file.names[number] if number < len(file.names) else ""] += n
    return counts.most_common()


def _per_function(file: RowFile, run_tag: int, chosen: Any) -> Iterator[tuple[int, int]]:
    for rows in chunks(file):
        own: Rows = rows[is_own(rows["op"], run_tag) & chosen(rows)]
        for number, n in zip(*np.unique(own["func"], return_counts=True), strict=True):
            yield int(number), int(n)


def _named(functions: list[tuple[str, int]]) -> str:
    names = [name for name, _ in functions if name]
    if not names:
        return ""
    shown = names[:_MOST_FUNCTIONS] + ([f"{len(names) - _MOST_FUNCTIONS} more"] if len(names) > _MOST_FUNCTIONS else [])
    return f": {listed(shown)}"
