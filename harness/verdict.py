"""The verdict of a run: can its figures be trusted? Pure functions: no clock, no files, no processes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from harness.accounting import Account
from harness.clocks import clock_reasons
from harness.grouping import NEVER_NS
from harness.invariants import Invariant
from harness.model import Boot, Evidence, Fault
from harness.rows import RequestError
from harness.slo import SloResult
from harness.stalls import stall_reasons
from harness.statistics import Statistics
from harness.timeline import outages
from harness.wording import counted, duration_s, figure, listed, share

__all__ = [
    "Verdict",
    "VerdictName",
    "judge",
    "lag_reasons",
    "sending_reasons",
    "slowed_by",
    "unconnected",
    "unexplained",
    "unexplained_counted",
]

VerdictName = Literal["PASS", "FAIL", "INCONCLUSIVE"]

LAG_LIMIT_MS: Final = 20.0
"""A generator this late (p99) is no open model any more, if that is also a large part of what it measured."""

LAG_NOTED_MS: Final = 5.0
"""A generator that is on time to this (p99) was not too slow, whatever was measured of its ceiling before."""

SATURATED_SHARE: Final = 0.9
"""Of one core: from here on a load process has no time left to be on time."""

SEND_FEWER: Final = "Send fewer, from more processes (--processes), or from a machine with less to do"

LATE_FAULT_S: Final = 1.0
"""A fault that lands later than this hits another situation than the planned one: its time says so, and the figures do not."""

EXPECTED_EXITS: Final = {
    "SIGKILL": (-9, 137),
    "SIGTERM": (0, -15, 143),
    "SIGINT": (0, -2, 130),
    "SIGHUP": (0, -1, 129),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """PASS, or FAIL (an SLO is broken), or INCONCLUSIVE: the figures cannot be trusted."""

    verdict: VerdictName
    reasons: tuple[str, ...]  # sentences with numbers; empty for PASS
    trusted: bool = True  # False: the reasons make every figure doubtful


def judge(
    evidence: Evidence,
    account: Account,
    invariants: Sequence[Invariant],
    statistics: Statistics,
    slos: Sequence[SloResult] = (),
) -> Verdict:
    """The verdict; every reason is named, not only the first.

    Figures that cannot be trusted make it INCONCLUSIVE, whatever the SLOs say. Else one broken SLO is enough for FAIL,
    and one that cannot be told for INCONCLUSIVE.
    """
    reasons = (
        *_of_the_session(evidence),
        *(f"Invariant {each.id} is broken ({each.title}): {each.detail}." for each in invariants if not each.holds),
        *(reason for boot in evidence.boots for reason in _of_a_boot(boot, evidence.faults)),
        *_of_the_generator(evidence, account, statistics),
        *stall_reasons(evidence),
        *_of_the_answers(evidence, account),
        *clock_reasons(evidence, statistics),
    )
    if reasons:
        return Verdict("INCONCLUSIVE", reasons, trusted=False)
    if any(slo.holds is False for slo in slos):
        return Verdict("FAIL", tuple(_broken(slo) for slo in slos if slo.holds is False))
    undecided = [*_of_the_hand(evidence), *(f"{slo.text} cannot be told: {slo.why}." for slo in slos if slo.holds is None)]
    return Verdict("INCONCLUSIVE", tuple(undecided)) if undecided else Verdict("PASS", ())


def slowed_by(evidence: Evidence) -> str:
    """What made all of the run slower than the server is, in words; empty if nothing did.

    In the closed model nobody can be late: users of a saturated load process wait for it as they wait for the server.
    """
    busy = [each for each in evidence.generators if each.cpu_share >= SATURATED_SHARE]
    if not evidence.is_closed or not busy:
        return ""
    return f"load process {busy[0].process} used {share(busy[0].cpu_share)} of a core (give it others with --processes)"


def _broken(slo: SloResult) -> str:
    value = figure(slo.value, slo.unit)
    if slo.windows is None:
        return f"{slo.text} is broken: {value}."
    windows = slo.windows
    where = "" if windows.worst_from_s is None else f", the worst from {windows.worst_from_s:.1f} s on: {value}"
    of = counted(windows.n, f"window of {duration_s(windows.length_s)}", f"windows of {duration_s(windows.length_s)}")
    return f"{slo.text} is broken in {windows.n_broken:,} of {of}{where}."


def unexplained(evidence: Evidence, account: Account, *, closed: bool) -> NDArray[np.uint32]:
    """Local ops without an answer whose time touches no outage and no boot's end: the server was up, and did not answer.

    `closed`: those whose connection was closed or reset instead. A server may do so, and says so by it; silence says nothing.
    """
    ops = account.tables.ops
    sent, end = ops.sent_ns[ops.unanswered], ops.unanswered_end_ns
    # One that is still open was waited for until its load process closed its file.
    given_up = [file.closed_ns for file in evidence.requests if file.closed_ns]
    end = np.where(end == NEVER_NS, max(given_up, default=NEVER_NS), end)
    explained = _explained(evidence, sent, end)
    was_closed = np.isin(ops.unanswered_error, (RequestError.RESET, RequestError.CLOSED_EARLY))
    found: NDArray[np.uint32] = ops.op[ops.unanswered[~explained & (was_closed == closed)]]
    return found


def unexplained_counted(evidence: Evidence, kind: str) -> int:
    """The same of requests of which there are histograms alone: of a second none count if a disturbance touches one of them.

    `kind`: as in `Silence`.
    """
    silences = [each for counted in evidence.counted for each in counted.silences if each.kind == kind]
    sent_ns = np.array([evidence.load_start_ns + each.from_ns for each in silences], np.int64)
    ends = [NEVER_NS if each.until_ns is None else evidence.load_start_ns + each.until_ns for each in silences]
    explained = _explained(evidence, sent_ns, np.array(ends, np.int64))
    return sum(each.n for each, is_explained in zip(silences, explained.tolist(), strict=True) if not is_explained)


def unconnected(evidence: Evidence, account: Account) -> NDArray[np.uint32]:
    """Local ops that waited for a connection in vain while the server was up, as in `unexplained`."""
    ops = account.tables.ops
    found: NDArray[np.uint32] = ops.op[
        ops.unconnected[~_explained(evidence, ops.sent_ns[ops.unconnected], ops.unconnected_end_ns)]
    ]
    return found


def _explained(evidence: Evidence, sent_ns: NDArray[np.int64], end_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    explained = np.zeros(len(sent_ns), np.bool_)
    for from_ns, until_ns in _disturbances(evidence):
        explained |= (sent_ns <= until_ns) & (end_ns >= from_ns)
    return explained


def _disturbances(evidence: Evidence) -> Iterator[tuple[int, int]]:
    for fault in evidence.faults:
        # What lasts explains why there is no answer meanwhile. What came of it later does not.
        if fault.landed_ns is not None and fault.effect != "ends":
            yield fault.landed_ns, fault.ended_ns or NEVER_NS
    for outage in outages(evidence):
        yield outage.from_ns, NEVER_NS if outage.until_ns is None else outage.until_ns
    for boot in evidence.boots:
        began = boot.frozen_ns or boot.signalled_ns or boot.reaped_ns
        if began is not None:
            yield began, boot.reaped_ns or NEVER_NS


def _of_the_hand(evidence: Evidence) -> Iterator[str]:
    """What was measured can be trusted, and is not what was to be measured."""
    if evidence.ended_by_hand:
        until_ns = max([evidence.planned_end_ns or 0, *(each.load_end_ns for each in evidence.load_changes)])
        ended, planned = (duration_s((at_ns - evidence.load_start_ns) / 1e9) for at_ns in (evidence.load_end_ns, until_ns))
        missing = len(evidence.planned_faults) - sum(not fault.by_hand for fault in evidence.faults)
        left_out = f"; {counted(missing, 'planned fault')} never happened" if missing > 0 else ""
        yield f"The load was ended by hand after {ended}, not after {planned}{left_out}."


def _of_the_session(evidence: Evidence) -> Iterator[str]:
    if evidence.interrupted_by:
        yield f"The run was interrupted by {evidence.interrupted_by}."
    yield from evidence.problems
    if evidence.check is not None:
        yield from (f"The scenario's own check: {text}." for text in evidence.check.problems)
    yield from (reason for fault in evidence.faults for reason in _of_a_fault(evidence, fault))
    missing = len(evidence.planned_faults) - sum(not fault.by_hand for fault in evidence.faults)
    if missing > 0 and not evidence.interrupted_by and not evidence.ended_by_hand:
        yield f"{missing} of {len(evidence.planned_faults)} planned faults never happened."


def _of_a_fault(evidence: Evidence, fault: Fault) -> Iterator[str]:
    why = f": {fault.detail}" if fault.detail else ""
    if fault.landed_ns is None:
        # By hand: whoever asked for it was told. On a condition: it might have been met in the time that was cut off.
        if not fault.by_hand and not (fault.condition is not None and evidence.ended_by_hand):
            yield f"The fault {fault} did not land{why}."
        return
    # One on a condition is due when that was first seen to be true.
    due_ns = fault.met_ns if fault.planned_s is None else evidence.load_start_ns + int(fault.planned_s * 1e9)
    late_s = (fault.landed_ns - (due_ns or fault.landed_ns)) / 1e9
    if fault.landed_ns > evidence.load_end_ns and not fault.by_hand:
        yield f"The fault {fault} landed only after the end of the load{why}."
    elif late_s > LATE_FAULT_S and not fault.by_hand:
        yield f"The fault {fault} landed {late_s:.1f} s late{why}."
    unwritten = sum(file.unwritten for files in (evidence.requests, evidence.effects, *evidence.tasks.values()) for file in files)
    if fault.name == "full-disk" and unwritten:
        yield f"The fault {fault} kept {unwritten:,} rows from being written: what became of those is not known."
    is_to_end = fault.effect == "replaces" or fault.length_s is not None
    if is_to_end and fault.ended_ns is None and not evidence.interrupted_by:
        yield f"The fault {fault} did not end{why}."


def _of_a_boot(boot: Boot, faults: Sequence[Fault]) -> Iterator[str]:
    name = f"Boot {boot.boot} (pid {boot.pid})"
    if boot.ready_ns is None:
        yield f"{name} never became ready."
    if boot.reaped_ns is not None and boot.signal is None:
        yield f"{name} died on its own, with exit status {boot.exit_status}."
    elif _has_crashed(boot) and not _ended_by_another(boot, faults):
        yield f"{name} was sent {boot.signal}, but ended with status {boot.exit_status}: it had crashed."
    if boot.survivors:
        listed = ", ".join(f"{process.pid} {process.command}" for process in boot.survivors)
        yield f"{len(boot.survivors)} processes of boot {boot.boot} outlived it: {listed}."
    if boot.port_free is False:
        yield f"Something still listened on the port after boot {boot.boot} was dead."


def _ended_by_another(boot: Boot, faults: Sequence[Fault]) -> bool:
    """Whether it was ended by the signal of an earlier fault, which the last one only met on its way."""
    receipts = [fault.receipt for fault in faults if fault.boot == boot.boot]
    to_it = {str(receipt["signal"]) for receipt in receipts if receipt.get("pid") == boot.pid}
    if any(boot.exit_status in EXPECTED_EXITS.get(name, ()) for name in to_it):
        return True
    # Asked to stop, it may have chosen a status of its own.
    return bool(to_it & (EXPECTED_EXITS.keys() - {"SIGKILL"})) and boot.exit_status is not None and boot.exit_status >= 0


def _has_crashed(boot: Boot) -> bool:
    """A server may choose its own status when it is asked to stop, but not when it is killed, and not die of another signal."""
    # One that would not stop and was killed is told by the session; it did not crash.
    if (
        boot.forced
        or boot.exit_status is None
        # What a server does when one of its workers is killed, it may choose.
        or (boot.signalled_pid is not None and boot.signalled_pid != boot.pid)
        or boot.signal not in EXPECTED_EXITS
        or boot.exit_status in EXPECTED_EXITS[boot.signal]
    ):
        return False
    return boot.exit_status < 0 or boot.signal == "SIGKILL"


def _of_the_generator(evidence: Evidence, account: Account, statistics: Statistics) -> Iterator[str]:
    shed = sum(each.shed for each in evidence.generators)
    overdue = sum(each.overdue for each in evidence.generators)
    if shed > overdue:
        advice = "The server answers too slowly for this rate: send fewer, or allow more (max_in_flight)"
        yield f"The generator shed {counted(shed - overdue, 'request')}: too many were in flight. {advice}."
    if overdue:
        yield f"The generator shed {counted(overdue, 'request')}: it could not send them in time. {SEND_FEWER}."
    yield from sending_reasons(evidence, account)
    yield from lag_reasons(evidence, statistics)


def sending_reasons(evidence: Evidence, account: Account) -> Iterator[str]:
    """Where load processes did not come to their end, or did not send what was planned, beside what they shed."""
    shed = sum(each.shed for each in evidence.generators)
    if account.n_own_limit:
        advice = "Raise `ulimit -n`, send fewer, or send them from more machines"
        yield (
            f"The generator could make no connection for {counted(account.n_own_limit, 'request')}: it had no file descriptor,"
            f" local port or memory left for one. {advice}."
        )
    for each in evidence.generators:
        if each.exit_status != 0:
            yield f"Load process {each.process} ended with status {each.exit_status}."
    planned = max(evidence.planned_requests, sum(each.planned for each in evidence.generators))
    n_sent = account.tables.ops.n_sent_rows + account.n_counted
    if not evidence.interrupted_by and account.n_attempted + shed < planned:
        sent = f"{account.n_attempted:,} of {planned:,} planned requests"
        yield f"Only {sent} were sent. The logs of the load processes may say why."
    said = sum(each.sent for each in evidence.generators)
    if said > n_sent:
        yield f"The load processes say that they sent {said:,} requests, but wrote {n_sent:,} rows."


def lag_reasons(evidence: Evidence, statistics: Statistics) -> Iterator[str]:
    """Where requests were sent too late for an open model."""
    lag, response = statistics.lag.p99_ms, statistics.answered.p99_ms
    busy = [
        f"load process {each.process} used {share(each.cpu_share)} of a core"
        for each in evidence.generators
        if each.cpu_share >= SATURATED_SHARE
    ]
    if lag > LAG_LIMIT_MS and math.isnan(response):
        yield (
            f"The generator was late: it sent with a lag of p99 {lag:,.1f} ms, "
            f"and nothing was acknowledged{''.join('; ' + each for each in busy)}. {SEND_FEWER}."
        )
    elif lag > LAG_LIMIT_MS and not lag <= response / 2:
        # What was never answered makes the p99 of all of them "never", in the report too: this is that of the others.
        of = "response p99 of" if response == statistics.response.p99_ms else "p99 of what was answered,"
        yield (
            f"The generator was late: it sent with a lag of p99 {lag:,.1f} ms, "
            f"more than half of the {of} {response:,.1f} ms{''.join('; ' + each for each in busy)}. {SEND_FEWER}."
        )
    elif lag > LAG_LIMIT_MS and busy:
        yield f"The generator was saturated: {listed(busy)}, and the lag was p99 {lag:,.1f} ms. {SEND_FEWER}."
    meant_s = (evidence.meant_end_ns - evidence.load_start_ns) / 1e9
    for each in evidence.generators:
        asked = each.planned / meant_s if meant_s > 0 else 0.0
        if each.ceiling_per_s is not None and asked > each.ceiling_per_s and lag > LAG_NOTED_MS:
            yield (
                f"Load process {each.process} was asked for {asked:,.0f} requests/s and reaches {each.ceiling_per_s:,.0f}/s"
                f" on this machine; the lag was p99 {lag:,.1f} ms. {SEND_FEWER}."
            )


def _of_the_answers(evidence: Evidence, account: Account) -> Iterator[str]:
    if account.n_acked == 0:
        refused = " The findings say what was answered instead." if account.n_rejected else ""
        yield f"No request was acknowledged, of {account.n_attempted:,} that were sent.{refused}"
    silent = unexplained(evidence, account, closed=False)
    n_silent = len(silent) + unexplained_counted(evidence, "silent")
    if n_silent:
        examples = ", ".join(f"{(evidence.run_tag << 32) | int(op):016x}" for op in silent[:5])
        shown = f" (op {examples})" if examples else ""
        were = "request was" if n_silent == 1 else "requests were"
        advice = "See its log, or wait longer (--request-timeout)"
        yield f"{n_silent:,} {were} never answered although the server was up{shown}. {advice}."
