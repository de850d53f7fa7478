"""Findings about what clients were told: refusals, closed connections, work done without an answer, and users who wait. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final

from harness.findings.facts import Facts
from harness.findings.finding import FoundOut
from harness.grouping import chunks, is_own
from harness.rows import Outcome
from harness.verdict import unconnected, unexplained, unexplained_counted
from harness.wording import counted, duration_ms, duration_s, listed

__all__ = ["of_answers", "of_users"]

_MOST_SHOWN: Final = 3
_SLOWER: Final = 3.0
_LEAST_MS: Final = 20.0
_MANY_SHARE: Final = 0.01


def of_answers(facts: Facts) -> Iterator[FoundOut]:
    """What clients were told, and what not."""
    yield from _refused(facts)
    yield from _unconnected(facts)
    yield from _closed(facts)
    yield from _unconfirmed(facts)
    yield from _slower(facts)


def _refused(facts: Facts) -> Iterator[FoundOut]:
    """Answers that are no success, by what they said: the first thing to look at where a run measured refusals.

    Of a scenario's requests, those that it means to have refused are left out: they are the ones without background work.
    """
    counts: Counter[tuple[int, str]] = Counter()
    evidence = facts.evidence
    for file in evidence.requests:
        for rows in chunks(file):
            said = rows[is_own(rows["op"], evidence.run_tag) & (rows["outcome"] == Outcome.REJ) & (rows["status"] != 0)]
            for (status, route), n in Counter(zip(said["status"].tolist(), said["route"].tolist(), strict=True)).items():
                name = file.names[route] if route < len(file.names) else ""
                if name not in evidence.expectation.idle:
                    counts[status, name] += n
    if not counts:
        return
    shown = [f"{_status(status)} to {name or 'a request'} ({n:,})" for (status, name), n in counts.most_common(_MOST_SHOWN)]
    shown += [f"{len(counts) - _MOST_SHOWN} more kinds"] if len(counts) > _MOST_SHOWN else []
    what = counted(counts.total(), "request was", "requests were")
    yield FoundOut(
        "refusals",
        "warning",
        f"{what} refused with an answer: {listed(shown)}.",
        {
            "refused": counts.total(),
            "answers": [{"status": status, "request": name, "times": n} for (status, name), n in counts.most_common()],
        },
        _hint(counts.most_common(1)[0][0][0]),
    )


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
        return "The server limits what it takes: look at the limit, or at what it has to do for each request."
    if 400 <= status <= 499:
        return "Are path, body and headers what the endpoint asks for? One such request by hand tells what it misses."
    return "The log of the server, in the run directory, may say why."


def _unconnected(facts: Facts) -> Iterator[FoundOut]:
    """Requests that the server let wait for a connection until their time was up."""
    n = len(unconnected(facts.evidence, facts.account)) + unexplained_counted(facts.evidence, "unconnected")
    attempted = facts.account.n_attempted
    if not n:
        return
    waited = facts.plan.get("request_timeout_s")
    after = f" within {duration_s(float(waited))}" if waited else ""
    yield FoundOut(
        "connections-timed-out",
        "critical" if n >= _MANY_SHARE * attempted else "warning",
        f"{n:,} of {counted(attempted, 'request')} got no connection{after} although the server was up: it took the ones before"
        " too slowly, and its listen queue was full. They were never sent, and count as never answered.",
        {"requests": n, "attempted": attempted},
        "Take connections faster (more workers, less work on the event loop), or refuse what is too much: a 503 tells at once.",
    )


def _closed(facts: Facts) -> Iterator[FoundOut]:
    """Requests whose connection was closed under them while the server was up."""
    account = facts.account
    n = len(unexplained(facts.evidence, account, closed=True)) + unexplained_counted(facts.evidence, "closed")
    if not n:
        return
    were = "request was" if n == 1 else "requests were"
    text, advice = f"{n:,} {were} cut off: the server closed the connection instead of answering.", "Its log may say why."
    if account.raised:
        text += (
            f" {account.raised:,} tasks raised: uvicorn, for one, then closes the connection on which the task was asked for, and"
            " whatever request has followed on it gets no answer. Its work may have been done all the same."
        )
        advice = "Let tasks catch their own errors."
    numbers = {"requests": n, "recovered": account.recovered, "failed_tasks": account.raised}
    yield FoundOut("connections-closed", "warning", text, numbers, advice)


def _unconfirmed(facts: Facts) -> Iterator[FoundOut]:
    """Work that was done, and the client was never told so."""
    if not facts.account.recovered:
        return
    n, unanswered = facts.account.recovered, facts.account.n_indeterminate
    yield FoundOut(
        "work-unconfirmed",
        "warning",
        f"{counted(n, 'request')} got no answer, and the work behind {'it' if n == 1 else 'them'} was done all the same"
        f" (of {unanswered:,} without an answer). A client that tries again has it done twice.",
        {"recovered": n, "indeterminate": unanswered},
        "Take an Idempotency-Key with the request, and do the work for each key once.",
    )


def _slower(facts: Facts) -> Iterator[FoundOut]:
    """Answers that get slower while nothing changes. Where the work falls behind too, that finding says it."""
    main = facts.main
    if main is None or main.falls_behind or main.ramp is not None or facts.evidence.is_closed:
        return
    first, middle, last = main.answers_ms
    if not (last >= _LEAST_MS and last >= _SLOWER * first and first < middle < last):
        return
    half = len(main.pending) // 2
    way = max(main.ways, key=lambda each: each.accepted)
    if not half or not way.accepted:
        return
    yield FoundOut(
        "responses-slow-down",
        "warning",
        f"Answers got slower and slower: p95 {duration_ms(first)} in the first third of the time, {duration_ms(middle)} in the"
        f" middle one, {duration_ms(last)} in the last. The backlog went from {int(main.pending[:half].mean()):,} to"
        f" {int(main.pending[half:].mean()):,} pending tasks meanwhile.",
        {"first_p95_ms": first, "middle_p95_ms": middle, "last_p95_ms": last},
        "Run longer to see where it ends (--for), and at half the rate: if it stays flat there, this rate is too much.",
    )


def of_users(facts: Facts) -> Iterator[FoundOut]:
    """What the closed model means for the figures, and what a locustfile did."""
    evidence = facts.evidence
    if not evidence.is_closed:
        return
    n_users = sum(each.users for each in evidence.users)
    yield FoundOut(
        "closed-model",
        "info",
        f"The load was {counted(n_users, 'user')} who each waited for an answer before sending more (closed model): while the"
        " server stalled, they sent less, so the response times leave out what others would have waited.",
        {"users": n_users},
        "A --rate leaves it in.",
    )
    errors: Counter[str] = Counter()
    for each in evidence.users:
        errors.update(dict(each.user_errors))
    for text, n in errors.most_common(_MOST_SHOWN):
        what = f"The locustfile raised {counted(n, 'time')}: {text}. What its users did not send then is missing from the load."
        yield FoundOut("user-raised", "warning", what, {"where": text, "times": n}, "The log of the load process says more.")
    for note in dict.fromkeys(note for each in evidence.users for note in each.notes):
        yield FoundOut("traffic-note", "info", f"{note[0].upper()}{note[1:]}.", {})
