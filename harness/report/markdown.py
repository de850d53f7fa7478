"""The summary as Markdown: short enough for a comment on a pull request. Pure: no clock, no files."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.headline import headline, rejected_words
from harness.schema import Durations, Summary
from harness.slotext import slo_lines
from harness.wording import at_s, counted, duration_ms, duration_s, most_busy, number_between

__all__ = ["markdown", "plain_text"]

_SYMBOLS = {"PASS": "✅", "FAIL": "❌", "INCONCLUSIVE": "⚠️"}
_SEVERITIES = {"critical": "❌", "warning": "⚠️", "info": "ℹ️"}
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~<>&@])")


def markdown(summary: Summary, name: str) -> str:
    """A heading, the figures in one table, what was found. `name`: of the run."""
    return "\n\n".join(part for part in _parts(summary, name) if part) + "\n"


def _parts(summary: Summary, name: str) -> Iterator[str]:
    yield f"### {_SYMBOLS[summary.verdict]} afterload: {summary.verdict} – {plain_text(name)}"
    yield f"**{plain_text(headline(summary))}**"
    yield "\n".join(f"- {plain_text(reason)}" for reason in summary.reasons)
    yield "\n".join(_durations(summary))
    yield "\n".join(_facts(summary))
    limits = list(slo_lines(summary))
    if limits:
        rows = [
            f"| {_holds(limit.holds)} | {_code(limit.name) if limit.name else ''} | {plain_text(limit.words)} |"
            for limit in limits
        ]
        yield "\n".join(["| | limit | measured |", "|---|---|---|", *rows])
    if summary.findings:
        yield "\n".join(f"- {_SEVERITIES[each.severity]} {plain_text(each.text)}" for each in summary.findings)
    broken = [each for each in summary.invariants if not each.holds]
    if broken:
        yield "\n".join(
            f"- ❌ invariant {each.id} is broken ({plain_text(each.title)}): {plain_text(each.detail)}" for each in broken
        )
    yield f"<sub>`afterload report {_path(name)}` shows all of it; report.html in the run directory draws it.</sub>"


def _durations(summary: Summary) -> Iterator[str]:
    yield "| | p50 | p95 | p99 | max | n | never |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    rows: tuple[tuple[str, Durations, str], ...] = (
        ("the client waits for", summary.requests.response_ms, f"{summary.requests.response_ms.n_never:,}"),
        ("the work is done after", summary.tasks.done_ms, number_between(summary.tasks.never_done_low, summary.tasks.never_done)),
    )
    for title, each, never in rows:
        none = "–" if not each.n else "never"
        cells = [duration_ms(value, none) for value in (each.p50, each.p95, each.p99, each.max)]
        yield f"| {title} | {' | '.join(cells)} | {each.n:,} | {never} |"


def _facts(summary: Summary) -> Iterator[str]:
    requests, tasks, pool = summary.requests, summary.tasks, summary.pool
    parts = [f"{requests.acked:,} acknowledged", *rejected_words(requests), f"{requests.indeterminate:,} without an answer"]
    yield f"- {counted(requests.attempted, 'request')}: {', '.join(parts)}"
    if tasks.accepted:
        cancelled = f" ({tasks.cancelled_running:,} of them cancelled by the app)" if tasks.cancelled_running else ""
        yield (
            f"- {counted(tasks.accepted, 'task')}: {tasks.finished:,} finished, {tasks.failed:,} failed{cancelled},"
            + (f" {tasks.lost:,} lost; backlog at most {tasks.backlog_max:,}")
        )
    if pool is not None:
        yield f"- pool: {most_busy(pool.busy_max, pool.size)}; saturated for {duration_s(pool.saturated_s)}"
    for boot in summary.boots:
        if boot.fault:
            again = f", answered again after {duration_s(boot.recovery_s)}" if boot.recovery_s is not None else ""
            left = f"{boot.queued_at_death:,} queued, {boot.running_at_death:,} running"
            yield f"- {boot.signal} at {at_s(boot.signalled_s)}: {left}{again}"
    for each in summary.steered:
        if each.landed_s is not None:
            yield f"- by hand at {at_s(each.landed_s)}: {plain_text(each.text)}"


def _holds(holds: bool | None) -> str:
    return "⚠️ unknown" if holds is None else "✅ holds" if holds else "❌ broken"


def plain_text(text: str) -> str:
    """Text that means nothing to Markdown or HTML, on one line, and calls nobody."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    one_line = " ".join(text.split()).replace("|", "\\|")
    fence = "`" * (max((len(found) for found in re.findall(r"`+", one_line)), default=0) + 1)
    return f"{fence}{one_line}{fence}" if fence == "`" else f"{fence} {one_line} {fence}"


def _path(name: str) -> str:
    return re.sub(r"[^\w./-]", "?", name)
