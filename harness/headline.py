"""The sentence that stands above everything else: were promises broken, how many, and by what. Pure functions on the summary."""

from __future__ import annotations

from harness.schema import BootSummary, Requests, Summary
from harness.wording import at_s, counted, listed

__all__ = ["headline", "left_by", "rejected_words", "split_words"]


def headline(summary: Summary) -> str:
    """The one sentence that everybody must have read."""
    tasks = summary.tasks
    if not tasks.server_is_witness and not tasks.inline:
        return _unseen(summary)
    if tasks.broken_promises == 0:
        kept = _kept(summary)
        return kept if summary.trusted else f"Not proven: {kept[0].lower()}{kept[1:]}"
    low, high = tasks.broken_promises_low, tasks.broken_promises
    number = counted(high, "broken promise") if low == high else f"Between {low:,} and {high:,} broken promises"
    if tasks.inline:
        return f"{number}: acknowledged, but the effect never arrived."
    discarded = tasks.lost_discarded
    if discarded == high:
        return f"{number}: acknowledged, and discarded by the server, which never ran {'it' if high == 1 else 'them'}."
    if tasks.broken_promises_queued + tasks.broken_promises_running + discarded < high:
        return f"{number}: {_perhaps(summary)}; how many of their requests had been acknowledged is not known."
    split = split_words(tasks.broken_promises_queued, tasks.broken_promises_running, discarded)
    return f"{number}: acknowledged, then lost{_culprits(summary)} ({split})."


def split_words(queued: int, running: int, discarded: int) -> str:
    """How many of what was lost were where."""
    words = f"{queued:,} queued, {running:,} running"
    return f"{words}, {discarded:,} discarded" if discarded else words


def _perhaps(summary: Summary) -> str:
    """What may be broken promises where requests have no rows. A restart has lost what it left, not what the server put aside."""
    tasks = summary.tasks
    words = []
    if left := tasks.lost_queued + tasks.lost_running:
        split = split_words(tasks.lost_queued, tasks.lost_running, 0)
        words.append(f"{counted(left, 'task was', 'tasks were')} lost{_culprits(summary)} ({split})")
    if aside := tasks.lost - left:
        # More than were discarded: an app may have answered those of refused tasks as it liked.
        n_refused = tasks.rejected if aside > tasks.discarded else 0
        what = " or ".join(word for word, number in (("refused", n_refused), ("discarded", tasks.discarded)) if number)
        words.append(f"{counted(n_refused + tasks.discarded, 'task was', 'tasks were')} {what or 'discarded'} by the server")
    return listed(words)


def _unseen(summary: Summary) -> str:
    requests, tasks = summary.requests, summary.tasks
    known = f" besides {counted(tasks.broken_promises_low, 'broken promise')}" if tasks.broken_promises_low else ""
    if not tasks.accepted + tasks.foreign:
        who = "Nobody but the client was a witness"
    else:
        who = f"The server told of no more than {requests.acked + requests.indeterminate - requests.unseen:,} requests"
    number = tasks.broken_promises - tasks.broken_promises_low
    return f"{who}: whether the work behind {counted(number, 'acknowledged request')} was done is unknown{known}."


def _kept(summary: Summary) -> str:
    tasks = summary.tasks
    if summary.requests.acked == 0:
        return "No promise was broken, for none was given: no request was acknowledged."
    words = (
        (tasks.failed - tasks.cancelled_running, "failed"),
        (tasks.skipped - tasks.cancelled_queued, "skipped"),
        (tasks.cancelled_running + tasks.cancelled_queued, "cancelled by the app"),
    )
    exceptions = [f"{number:,} {word}" for number, word in words if number]
    exceptions += [f"{tasks.awaiting:,} still waiting"] if tasks.awaiting else []
    # Of the others no client had been told: what was acknowledged, and is none of the above, was done.
    # Some were done although they were interrupted: their effect was seen.
    lost = min(tasks.lost - tasks.lost_discarded, tasks.interrupted + tasks.never_started)
    untold = ((lost, "lost"), (tasks.rejected, "rejected"), (tasks.discarded, "discarded"))
    others = [f"{number:,} {word}" for number, word in untold if number]
    n_faults = sum(boot.fault for boot in summary.boots)
    through = f" through {counted(n_faults, 'restart')}" if n_faults else ""
    if exceptions:
        return f"No promise was broken{through}, but not all the work was done: {listed(exceptions + others)}."
    if summary.plan.get("command"):
        # Of somebody's own app nobody knows how many tasks a request should have.
        if not tasks.accepted:
            acked = counted(summary.requests.acked, "acknowledged request")
            return f"No promise was broken, for none was seen: {acked} and no background task."
        if others:
            n_done = tasks.finished + tasks.interrupted + tasks.never_started - lost
            were = "was" if n_done == 1 else "were"
            done = f"{n_done:,} of {counted(tasks.accepted, 'background task')} {were} done"
            return f"No promise was broken{through}: {done}; the requests of the others were not acknowledged ({listed(others)})."
        done = counted(tasks.finished, "background task was done", "background tasks were all done")
        return f"No promise was broken{through}: {done}."
    return f"No promise was broken{through}: the work behind all {summary.requests.acked:,} acknowledged requests was done."


def rejected_words(requests: Requests) -> list[str]:
    """The rejected requests in words: how many were refused, and how many had no connection for another reason."""
    others = (
        (requests.unconnected, "without a connection in time"),
        (requests.own_limit, "that the generator could not connect"),
    )
    words = [f"{requests.rejected - requests.unconnected - requests.own_limit:,} refused"]
    return words + [f"{number:,} {what}" for number, what in others if number]


def _culprits(summary: Summary) -> str:
    """Which ends of boots the losses are due to: ` by SIGKILL at 6.0 s`."""
    found = [
        f"by the fault {fault.kind} at {at_s(fault.landed_s)}"
        for fault in summary.faults
        if not fault.ends_boot and fault.left_queued + fault.left_running
    ]
    for boot in summary.boots:
        queued, running = left_by(boot)
        if queued + running == 0:
            continue
        if boot.signal is None:
            found.append(f"when boot {boot.boot} died at {at_s(boot.died_s)}")
        elif boot.fault:
            found.append(f"by {boot.signal} at {at_s(boot.signalled_s)}")
        else:
            found.append(f"by the stop at the end ({boot.signal} at {at_s(boot.signalled_s)})")
    if len(found) > 3:
        return f" at {len(found)} restarts"
    return " " + listed(found) if found else ""


def left_by(boot: BootSummary) -> tuple[int, int]:
    """What the end of the boot left queued and running; not what workers had left that ended before."""
    return boot.queued_at_death - boot.queued_by_workers, boot.running_at_death - boot.running_by_workers
