"""Findings about who saw what: processes without a witness, and apps in which nothing was to be seen. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from harness.findings.facts import Facts
from harness.findings.finding import FoundOut
from harness.wording import counted

__all__ = ["of_witnesses"]


def of_witnesses(facts: Facts) -> Iterator[FoundOut]:
    """What the probe could not see, or what was not there to be seen."""
    evidence, account = facts.evidence, facts.account
    for text in dict.fromkeys(note.text for note in evidence.notes if note.kind == "unhooked"):
        yield FoundOut("unhooked", "warning", f"The probe could not hook everything: {text}.".replace("..", "."))
    yield from _no_tasks(facts)
    if account.server_is_witness or account.inline:
        return
    numbers = {"acked": account.n_acked, "unseen": account.n_unseen}
    if not evidence.tasks:
        yield FoundOut(
            "server-unseen",
            "warning",
            "No process of the server was seen from inside: the figures are the client's alone, and what a restart loses cannot"
            " be told.",
            numbers,
            "The probe sees apps on Starlette (FastAPI) in CPython 3.10 and newer, and not under python -I, -E, -S.",
        )
        return
    seen = account.n_acked + account.n_indeterminate - account.n_unseen
    yield FoundOut(
        "server-partly-unseen",
        "warning",
        f"The probe saw {seen:,} requests, and {account.n_acked:,} were acknowledged: some process of the server answers without"
        " it, and what that one loses cannot be told.",
        numbers,
        "Start all processes of the server by the command that afterload is given: one that was there before is not seen.",
    )


def _no_tasks(facts: Facts) -> Iterator[FoundOut]:
    """An app in which there was nothing to lose: most often the wrong endpoint, or work that the probe cannot see."""
    account = facts.account
    if account.inline or not account.server_is_witness or account.accepted or not account.n_acked:
        return
    yield FoundOut(
        "no-tasks",
        "warning",
        f"No background task was seen: {counted(account.n_acked, 'request was', 'requests were')} acknowledged, and none had one"
        " (BackgroundTasks, or an asyncio task that outlives the answer).",
        {"acked": account.n_acked},
        "Is it the right endpoint? What an app puts into a queue or a thread of its own is not seen.",
    )
