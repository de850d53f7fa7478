"""How a run looks from the client's side and from the work's, in two words and a sentence. Pure.

A state is decided at each whole second, by the seconds before it, and is left again only at half of what it was entered at: so it
does not flicker, and is the same whenever and however often somebody looks. Only whether the server is there is said at once.

**Client.** FAILING: of the answers of the last 5 s at least 1 % (and 2) were refusals or none at all; until it is below 0.5 %.
SLOW: the p95 of the answers of the last 3 s is above 100 ms and ten times what it was in the first 5 s of answers after the
warm-up, or somebody has waited for more than 1 s; until it is below half of that.

**Work.** FAILING: of the tasks that ended in the last 5 s at least 5 % (and 2) raised, until it is below 2 %; or tasks were lost,
or discarded although acknowledged, within the last 10 s. BEHIND: the oldest task that is not done has been due for more than 1 s,
and more are waiting than 5 s ago, by more than 5 and by 2 % of what came in; until all is younger than 0.5 s, or no more wait
than 5 s ago. SLOW: it is not behind, and the oldest has been due for more than 1 s and for ten times as long as p95 of the
answers; until it is half as old.

Of a run that is over, all of it is told: FAILING as above but of all requests and tasks, with any task that was lost, or
discarded although its request was acknowledged; SLOW where p95 of what was done is above 1 s and ten times that of the answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.live.frame import Side, SideState
from harness.live.seconds import Seconds
from harness.wording import counted, duration_ms, duration_s, listed, per_second

__all__ = [
    "Glance",
    "client_side",
    "client_state_over_all",
    "client_states",
    "work_side",
    "work_state_over_all",
    "work_states",
]

_WINDOW: Final = 5
_SHORT: Final = 3
_BASE_S: Final = 5
_BAD_SHARE: Final = 0.01
_FAILED_SHARE: Final = 0.05
_FAILED_LEFT: Final = 0.02
_FEWEST: Final = 2
_SLOW_TIMES: Final = 10.0
_SLOW_MS: Final = 100.0
_STUCK_MS: Final = 1_000.0
_OLD_MS: Final = 1_000.0
_GROWS: Final = 5
_GROWS_SHARE: Final = 0.02
_LOST_S: Final = 10


@dataclass(frozen=True, slots=True)
class Glance:
    """What the words of the tiles are made from, at the instant."""

    is_up: bool  # the server is there and moves
    has_begun: bool  # requests have been due
    attempted: int
    response_ms: float | None  # p95 of the answers of the last seconds; None: there were none
    bad: int  # refusals and no answers, within the last 5 s
    answers: int  # all that ended in that time
    waited_ms: float | None  # by whoever has waited longest
    has_tasks: bool  # any was accepted
    is_seen: bool  # the server is a witness
    is_inline: bool  # the work is done before the answer
    done_ms: float | None
    oldest_s: float | None
    backlog: int
    accepted_per_s: float
    finished_per_s: float
    failed: int  # those that raised
    lost: int
    gone: int = 0  # tasks that were lost with the server that is not there
    is_draining: bool = False  # the server was asked to end, and has not: it takes nothing new, and works off what it has
    discarded: int = 0  # tasks that were put aside although their request was acknowledged
    is_over: bool = False  # the run: all of this is of the whole of it


def client_states(seconds: Seconds, warm_up_s: float, known: Sequence[SideState] = ()) -> list[SideState]:
    """At the end of each second. `known`: of the first ones, from an earlier call."""
    bad = _last(seconds.rejected + seconds.indeterminate, _WINDOW)
    ended = _last(seconds.acked + seconds.rejected + seconds.indeterminate, _WINDOW)
    base_ms, from_second = _base(seconds, warm_up_s)
    states = list(known)
    state = states[-1] if states else SideState.WAITING
    for second in range(len(states), len(seconds)):
        is_bad = bad[second] >= _FEWEST and bad[second] >= _BAD_SHARE * ended[second]
        stays_bad = state is SideState.FAILING and bad[second] > _BAD_SHARE / 2 * ended[second]
        limit_ms = max(_SLOW_MS, _SLOW_TIMES * base_ms) if second >= from_second else math.inf
        lower = 0.5 if state is SideState.SLOW else 1.0
        recent = seconds.response_ms[max(second - _SHORT + 1, 0) : second + 1]
        recent = recent[~np.isnan(recent)]
        is_slow = len(recent) > 0 and float(np.median(recent)) > limit_ms * lower
        is_stuck = bool(seconds.waiting_ms[second] > _STUCK_MS * lower)
        if is_bad or stays_bad:
            state = SideState.FAILING
        elif is_slow or is_stuck:
            state = SideState.SLOW
        elif ended[second] or state is not SideState.WAITING:
            state = SideState.OK
        states.append(state)
    return states


def work_states(seconds: Seconds, known: Sequence[SideState] = ()) -> list[SideState]:
    """At the end of each second. `known`: of the first ones, from an earlier call."""
    failed, ended = _last(seconds.failed, _WINDOW), _last(seconds.ended, _WINDOW)
    accepted, lost = _last(seconds.accepted, _WINDOW), _last(seconds.lost, _LOST_S)
    states = list(known)
    state, has_begun = states[-1] if states else SideState.WAITING, any(state is not SideState.WAITING for state in states)
    for second in range(len(states), len(seconds)):
        has_begun = has_begun or bool(seconds.accepted[second])
        left = _FAILED_LEFT if state is SideState.FAILING else _FAILED_SHARE
        raises = failed[second] >= _FEWEST and failed[second] >= left * ended[second]
        before = seconds.backlog[second - _WINDOW] if second >= _WINDOW else 0
        more, old_ms = int(seconds.backlog[second] - before), float(seconds.oldest_ms[second])
        grows = more > max(_GROWS, _GROWS_SHARE * accepted[second])
        is_behind = old_ms > _OLD_MS and grows
        stays_behind = state is SideState.BEHIND and old_ms > _OLD_MS / 2 and more > 0
        answers_ms = float(np.nan_to_num(seconds.response_ms[second]))
        lower = 0.5 if state in {SideState.SLOW, SideState.BEHIND} else 1.0
        is_slow = old_ms > lower * max(_OLD_MS, _SLOW_TIMES * answers_ms)
        if raises or lost[second]:
            state = SideState.FAILING
        elif is_behind or stays_behind:
            state = SideState.BEHIND
        elif is_slow:
            state = SideState.SLOW
        elif has_begun:
            state = SideState.OK
        states.append(state)
    return states


def client_state_over_all(at: Glance) -> SideState:
    """Of a run that is over; `at` is of all of it."""
    is_never = at.response_ms is not None and math.isinf(at.response_ms)
    if is_never or (at.bad >= min(_FEWEST, at.answers) and at.bad > 0 and at.bad >= _BAD_SHARE * at.answers):
        return SideState.FAILING
    return SideState.OK if at.answers else SideState.WAITING


def work_state_over_all(at: Glance, finished: int) -> SideState:
    """The same of the work."""
    if at.lost or at.discarded or (at.failed >= _FEWEST and at.failed >= _FAILED_SHARE * (finished + at.failed)):
        return SideState.FAILING
    if (at.done_ms or 0.0) > max(_OLD_MS, _SLOW_TIMES * (at.response_ms or 0.0)):
        return SideState.SLOW
    return SideState.OK if at.has_tasks else SideState.WAITING


def client_side(state: SideState, at: Glance) -> Side:
    """The tile. A state is that of the last whole second; what has passed since is told as that."""
    errors = at.bad / at.answers if at.answers else 0.0
    p95 = _shown(at.response_ms)
    lines = (f"p95 {p95}  bad {errors:.1%}", f"{at.attempted:,} sent")
    if not at.has_begun:
        return Side(SideState.WAITING, "WAITING", ("nothing was sent yet",), "No request has been due yet.")
    if not at.is_up:
        if at.is_draining:
            return Side(SideState.DOWN, "DRAINING", lines, "The server was asked to end: it takes nothing new.")
        return Side(SideState.DOWN, "DOWN", lines, "The server is not there: requests are refused or wait for nothing.")
    waited = at.waited_ms if at.waited_ms is not None and at.waited_ms > _STUCK_MS / 2 else None
    if state is SideState.FAILING:
        of = f"{'' if at.is_over else 'the last '}{counted(at.answers, 'request')}"
        why = f"{at.bad:,} of {of} {'was' if at.bad == 1 else 'were'} refused or had no answer."
        return Side(state, "FAILING", lines, why if at.bad else "Until just now requests were refused or had no answer.")
    if state is SideState.SLOW:
        is_late = at.response_ms is not None and _SLOW_MS / 2 < at.response_ms < math.inf
        parts = [f"p95 of the answers is {p95}, far above what it was at first"] if is_late else []
        if waited is not None:
            lines = (f"p95 {p95}  waits {duration_ms(waited)}", lines[1])
            parts.append(f"somebody has waited for {duration_ms(waited)}")
        return Side(state, "SLOW", lines, f"{_sentence(parts) or f'Until just now answers were late; their p95 is {p95}'}.")
    if state is SideState.WAITING and not at.answers:
        why = "No request was answered." if at.is_over else "No request has been answered yet."
        return Side(state, "WAITING", ("no answer",) if at.is_over else ("no answer yet",), why)
    if not at.answers:
        return Side(SideState.OK, "OK", lines, f"Nothing was answered in the last {_WINDOW} s, and nobody waits for long.")
    return Side(SideState.OK, "OK", lines, f"Requests {'were' if at.is_over else 'are'} answered: p95 {p95}.")


def work_side(state: SideState, at: Glance) -> Side:
    """The tile. As for the client."""
    if not at.is_seen and not at.has_tasks:
        why = "Nobody in the server says what becomes of the work."
        return Side(SideState.WAITING, "UNSEEN" if at.has_begun else "WAITING", ("no witness in the server",), why)
    if at.is_inline:
        why = "The work is done before the answer: what the client waits for is the work."
        return Side(SideState.OK if at.answers else SideState.WAITING, "INLINE", ("done before the answer",), why)
    p95 = _shown(at.done_ms)
    oldest = () if at.oldest_s is None else (f"oldest {duration_s(at.oldest_s)}",)
    lines = (f"p95 {p95}  queue {at.backlog:,}", *oldest)
    rates = f"{per_second(at.accepted_per_s, 'tasks')} come in, {per_second(at.finished_per_s)} get done"
    if not at.is_up and at.has_begun:
        if at.is_draining:
            why = f"The server takes nothing new, and works off what it has: {per_second(at.finished_per_s, 'tasks')} get done."
            return Side(SideState.DOWN, "DRAINING", lines, why)
        gone = f" {counted(at.gone, 'task')} went with it." if at.gone else ""
        return Side(SideState.DOWN, "DOWN", lines, f"The server is not there: nothing gets done.{gone}")
    if not at.has_tasks:
        return Side(SideState.WAITING, "WAITING", ("no task yet",), "No task has been accepted yet.")
    if state is SideState.FAILING:
        lost = f"{counted(at.lost, 'task')} {'was' if at.lost == 1 else 'were'} lost with their server" if at.lost else ""
        raised = f"{counted(at.failed, 'task')} raised" if at.failed else ""
        put_aside = (
            f"{counted(at.discarded, 'acknowledged task was', 'acknowledged tasks were')} discarded" if at.discarded else ""
        )
        is_lost = at.lost + at.discarded and not at.failed
        why = (
            listed([part for part in (lost, put_aside, raised) if part])
            or "Until just now tasks raised, or were left behind by their server"
        )
        return Side(state, "LOST" if is_lost else "FAILING", lines, f"{why}.")
    has_waited = "" if at.oldest_s is None else f"; the oldest has waited {duration_s(at.oldest_s)}"
    if state is SideState.BEHIND:
        falls = "The work falls behind" if has_waited else "Until just now the work fell behind"
        return Side(state, "BEHIND", lines, f"{falls}: {rates}{has_waited}.")
    if state is SideState.SLOW and at.is_over:
        return Side(state, "SLOW", lines, f"Work got done, but late: p95 {p95}.")
    if state is SideState.SLOW:
        is_late = at.oldest_s is not None and at.oldest_s > _OLD_MS / 2e3
        late = f"Work gets done, but late: p95 {p95}" if is_late else f"Until just now work got done late; its p95 is {p95}"
        return Side(state, "SLOW", lines, f"{late}{has_waited}.")
    if at.is_over:
        return Side(SideState.OK, "OK", lines, f"Work got done: p95 {p95} after it was asked for.")
    return Side(SideState.OK, "OK", lines, f"Work is done soon after it was asked for: {rates}.")


def _sentence(parts: Sequence[str]) -> str:
    text = "; ".join(parts)
    return text if text.startswith("p95") else text[:1].upper() + text[1:]


def _shown(value_ms: float | None) -> str:
    """`-`: there is none; `never`: that share will never be answered."""
    return "never" if value_ms is not None and math.isinf(value_ms) else duration_ms(value_ms, none="-")


def _last(counts: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """The sums of each second and those before it: `n` in all."""
    sums = np.concatenate(([0], np.cumsum(counts)))
    return sums[1:] - sums[np.maximum(np.arange(len(counts)) + 1 - n, 0)]


def _base(seconds: Seconds, warm_up_s: float) -> tuple[float, int]:
    """The median p95 of the first seconds with answers after the warm-up, and the first second in which it is known."""
    measured = np.flatnonzero(~np.isnan(seconds.response_ms) & (np.arange(len(seconds)) >= warm_up_s))[:_BASE_S]
    if len(measured) < _BASE_S:
        return math.inf, len(seconds)
    return float(np.median(seconds.response_ms[measured])), int(measured[-1]) + 1
