"""The side column: load and settings, the server, what goes on now, findings. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from dashboard.panels.lines import SYMBOLS, VERDICTS, Line, Role, cut, justified, line, wrapped
from dashboard.panels.words import UNKNOWN, count, elided, ms, rate, seconds, setting, share, size
from harness.live.frame import NOT_KNOWN, Frame, Phase, Setting

if TYPE_CHECKING:
    from harness.schema import Summary

__all__ = ["aside_lines"]

_KEYS: Final = {"rate": "u/U", "users": "u/U", "pool": "p/P", "tasks": "y"}
_NAMES: Final = {"rate": "requests/s", "users": "users", "pool": "pool", "tasks": "tasks"}


def aside_lines(frame: Frame, width: int, height: int, *, can_steer: bool) -> Sequence[Line]:
    """As many lines as there are rows; the findings get what is left, and the totals only where there is plenty."""
    # Of a run that is over, rates of its last seconds say nothing.
    is_over = frame.phase in {Phase.ENDED, Phase.CRASHED}
    fixed = [
        *_load(frame, width, can_steer=can_steer),
        *(_ended(frame.summary, width, is_long=height >= 36) if is_over and frame.summary is not None else _server(frame, width)),
        *(() if is_over else _now(frame, width, is_long=height >= 30)),
    ]
    totals = list(_totals(frame, width)) if height >= 44 or is_over else []
    room = height - len(fixed) - len(totals)
    if room < 3:
        fixed, room = _without_gaps(fixed), height - len(_without_gaps(fixed)) - len(totals)
    return [cut(each, width) for each in (*fixed, *totals, *_findings(frame, width, room))][:height]


def _without_gaps(lines: Sequence[Line]) -> list[Line]:
    return [each for each in lines if each]


def _heading(text: str) -> Line:
    return line((text, "title"))


def _row(label: str, value: str, width: int, role: Role = "", after: str = "") -> Line:
    return justified(line((f" {label}", "muted")), line((value, role), (after.rjust(5) if after else "", "key")), width - 1)


def _load(frame: Frame, width: int, *, can_steer: bool) -> Iterator[Line]:
    yield _heading("SETTINGS")
    if not frame.settings:
        yield _row("load", frame.about.load, width)
    for each in frame.settings:
        yield _row(
            _NAMES.get(each.name, each.name), _changing(each), width, _role(each), _KEYS.get(each.name, "") if can_steer else ""
        )


def _changing(each: Setting) -> str:
    if each.pending is not None:
        return f"◂ {setting(each.value)}→{setting(each.pending)} ▸"
    return setting(each.value)


def _role(each: Setting) -> Role:
    return "chosen" if each.pending is not None else ""


def _server(frame: Frame, width: int) -> Iterator[Line]:
    now = frame.now
    yield ()
    yield _heading("SERVER")
    if frame.boot.in_words == NOT_KNOWN:
        yield _row("since the crash", NOT_KNOWN, width, "warn")
        return
    if not frame.about.has_server_witness:
        yield _row("not seen from inside", "", width)
    busy = f"{count(now.pool_busy)} of {count(now.pool_size)}" if now.pool_size is not None else count(now.busy)
    full = now.pool_size is not None and now.pool_busy is not None and now.pool_busy >= now.pool_size > 0
    yield _row("threads busy" if now.pool_size is not None else "tasks running", busy, width, "warn" if full else "")
    late = now.loop_lag_ms is not None and now.loop_lag_ms >= 100
    yield _row("event loop late", ms(now.loop_lag_ms), width, "bad" if late else "")
    if now.loop_blocked_by:
        yield _row(" held by", elided(now.loop_blocked_by, max(width - 12, 8)), width, "bad")
    yield _row("cpu, memory", f"{share(now.server_cpu_share)}, {size(now.server_rss_bytes)}", width)


def _ended(summary: Summary, width: int, *, is_long: bool) -> Iterator[Line]:
    """What came of it, why, and how the server was."""
    yield ()
    yield _heading("VERDICT")
    yield from wrapped(VERDICTS.get(summary.verdict, ("", "")), "; ".join(summary.reasons[:2]), width - 1, most=4)
    if not is_long:
        return
    yield ()
    yield _heading("SERVER")
    if summary.pool is not None:
        most = f"{summary.pool.busy_max}" + (f" of {summary.pool.size}" if summary.pool.busy_max <= summary.pool.size else "")
        yield _row("threads busy, most", most, width)
        yield _row("all of them busy", ms((summary.pool.saturated_s or 0.0) * 1e3), width)
    if summary.loop is not None:
        blocked_s = summary.loop.blocked_s or 0.0
        yield _row("event loop blocked", ms(blocked_s * 1e3) if blocked_s else "never", width, "bad" if blocked_s else "")
    yield _row("boots", f"{len(summary.boots)}", width)


def _now(frame: Frame, width: int, *, is_long: bool) -> Iterator[Line]:
    now = frame.now
    yield ()
    yield _heading("NOW")
    yield _row("requests", rate(now.offered_per_s), width)
    if is_long:
        yield _row("answered", rate(now.answered_per_s), width)
    yield _row("accepted", rate(now.accepted_per_s), width, "response")
    yield _row("finished", rate(now.finished_per_s), width, "done")
    if now.accepted_per_s is not None and now.finished_per_s is not None:
        falls = now.accepted_per_s - now.finished_per_s
        if falls > 0.05 * max(now.accepted_per_s, 1) and (now.backlog or 0) > 0:
            yield _row("falls behind by", rate(falls), width, "bad")
        else:
            yield _row("falls behind by", "0/s", width)
    else:
        yield _row("falls behind by", UNKNOWN, width)
    yield _row("queued", count(now.backlog), width)
    yield _row("oldest of them", _seconds(now.oldest_queued_s), width)
    yield _row("drain if idle", seconds(now.drain_s), width)
    if is_long:
        yield _row("in flight", count(now.in_flight), width)
        yield _row("load's cpu", share(now.load_cpu_share), width)
        if now.late or now.shed:
            yield _row("sent late, not sent", f"{now.late:,}, {now.shed:,}", width, "warn")


def _seconds(value_s: float | None) -> str:
    return UNKNOWN if value_s is None else ms(value_s * 1e3) if value_s else "0 s"


def _totals(frame: Frame, width: int) -> Iterator[Line]:
    totals, is_seen = frame.totals, frame.about.has_server_witness

    def of_server(number: int) -> str:
        return count(number if is_seen else None)

    yield ()
    heading = "SO FAR" if frame.phase is not Phase.ENDED else "IN ALL"
    yield justified(_heading(heading), line(("p50, p99", "muted")), width - 1)
    yield _row("requests", f"{totals.attempted:,}", width)
    yield _row("refused, no answer", f"{totals.rejected:,}, {totals.indeterminate:,}", width)
    yield _row("response", f"{ms(totals.response_p50_ms)}, {ms(totals.response_p99_ms)}", width, "response")
    yield _row("done", f"{ms(totals.done_p50_ms)}, {ms(totals.done_p99_ms)}", width, "done")
    yield _row("finished", of_server(totals.finished), width)
    raised = totals.failed - totals.cancelled
    failed = f"{of_server(raised)}, {of_server(totals.skipped)}"
    yield _row("failed, skipped", failed, width, "warn" if raised else "")
    if totals.cancelled:
        yield _row("cancelled by the app", f"{totals.cancelled:,}", width)
    yield _row("most queued", of_server(totals.backlog_max), width)
    yield _row("a task runs for", ms(totals.run_mean_ms), width)


def _findings(frame: Frame, width: int, room: int) -> Iterator[Line]:
    if room < 2:
        return
    if room > 3:
        yield ()
        room -= 1
    yield justified(_heading(f"FINDINGS {len(frame.findings)}"), line(("f", "key")), width - 1)
    room -= 1
    if not frame.findings:
        yield line((" none so far" if frame.phase is not Phase.ENDED else " none", "muted"))
    for number, finding in enumerate(frame.findings):
        symbol, role = SYMBOLS[finding.severity]
        lines = wrapped((symbol, role), finding.text, width - 1, most=max(2, min(5, room)))
        if len(lines) > room or (len(lines) == room and number + 1 < len(frame.findings)):
            if room > 0:
                yield line((f" and {len(frame.findings) - number} more: f", "muted"))
            return
        yield from lines
        room -= len(lines)
