"""The summary as text, for a terminal or a log: what a developer has to know, in the order in which it matters. A pure function.

Every meaning is in a word or a symbol; colour (Okabe and Ito's, which colour-blind people can tell apart) only repeats it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from harness.faultwords import fault_words
from harness.headline import headline, left_by, rejected_words, split_words
from harness.schema import BootSummary, Durations, Summary, Tasks
from harness.slotext import reasons_beside_limits, slo_heading, slo_table
from harness.textchart import ASCII, BLOCKS, Columns, Glyphs, bars, columns_of, marks_row, nice_ceiling, strip, time_axis
from harness.wording import at_s, counted, duration_ms, duration_s, lines_of, listed, most_busy, number_between

__all__ = ["render"]

Role = Literal["good", "bad", "unsure", "title", "client", "work"]

_ANSI: Final[dict[Role, str]] = {
    "good": "\x1b[1;38;2;0;158;115m",
    "bad": "\x1b[1;38;2;213;94;0m",
    "unsure": "\x1b[1;38;2;230;159;0m",
    "title": "\x1b[1m",
    "client": "\x1b[38;2;86;180;233m",
    "work": "\x1b[38;2;230;159;0m",
}
_RESET: Final = "\x1b[0m"
_CHART_ROWS: Final = 7
_MOST_FINDINGS: Final = 8
_TOPS: Final = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)  # of the backlog chart, times a power of ten
_LABEL_COLUMNS: Final = 10  # left of every chart and of every row of words
_ORDER: Final = ("finished", "failed", "skipped", "rejected", "discarded", "interrupted", "never_started", "awaiting")


@dataclass(frozen=True, slots=True)
class _Page:
    width: int
    glyphs: Glyphs
    color: bool

    def paint(self, role: Role, text: str) -> str:
        return f"{_ANSI[role]}{text}{_RESET}" if self.color and text else text

    def wrapped(self, label: str, text: str, role: Role | None = None) -> Iterator[str]:
        """A row of words beside its label, as many lines as it needs."""
        for number, line in enumerate(lines_of(text, self.width - _LABEL_COLUMNS) or [""]):
            painted = self.paint(role, line) if role else line
            yield f"{label if number == 0 else '':<{_LABEL_COLUMNS}}{painted}".rstrip()

    def sentence(self, symbol: str, text: str, role: Role | None) -> Iterator[str]:
        """A sentence behind a symbol, as many lines as it needs."""
        indent = len(symbol) + 1
        for number, line in enumerate(lines_of(text, self.width - indent)):
            shown = f"{symbol} {line}" if number == 0 else " " * indent + line
            yield self.paint(role, shown) if role else shown


def render(summary: Summary, *, width: int = 80, color: bool = False, glyphs: Literal["blocks", "ascii"] = "blocks") -> str:
    """The whole summary, lines of at most `width` columns (from 70 on), with a newline at the end."""
    page = _Page(width=max(width, 70), glyphs=ASCII if glyphs == "ascii" else BLOCKS, color=color)
    sections = (
        _headline(summary, page),
        _findings(summary, page),
        _latency(summary, page),
        _chart(summary, page),
        _strips(summary, page),
        _pool(summary, page),
        _restarts(summary, page),
        _faults(summary, page),
        _steered(summary, page),
        _accounting(summary, page),
        _scenario(summary, page),
        _invariants(summary, page),
    )
    blocks = ["\n".join(lines) for section in sections if (lines := list(section))]
    text = "\n\n".join(blocks) + "\n"
    return text if glyphs == "blocks" else _to_ascii(text)


def _headline(summary: Summary, page: _Page) -> Iterator[str]:
    tasks = summary.tasks
    role: Role = "bad" if tasks.broken_promises else "good"
    if not tasks.broken_promises_low and (not summary.trusted or not (tasks.server_is_witness or tasks.inline)):
        role = "unsure"
    symbol = {"unsure": page.glyphs.unsure, "bad": page.glyphs.bad, "good": page.glyphs.good}[role]
    yield from page.sentence(symbol, headline(summary), role)
    shown: dict[str, tuple[Role, str]] = {
        "PASS": ("good", page.glyphs.good),
        "FAIL": ("bad", page.glyphs.bad),
        "INCONCLUSIVE": ("unsure", page.glyphs.unsure),
    }
    role, symbol = shown[summary.verdict]
    yield from page.sentence(symbol, f"{summary.verdict}: {slo_heading(summary)}", role)
    for reason in reasons_beside_limits(summary):
        lines = lines_of(reason, page.width - 6)
        yield from (f"    {page.glyphs.dot if number == 0 else ' '} {line}" for number, line in enumerate(lines))
    yield from _limits(summary, page)


def _limits(summary: Summary, page: _Page) -> Iterator[str]:
    shown: dict[bool | None, tuple[str, Role]] = {
        True: (page.glyphs.good, "good"),
        False: (page.glyphs.bad, "bad"),
        None: (page.glyphs.unsure, "unsure"),
    }
    for holds, lines in slo_table(summary, page.width - 6):
        symbol, role = shown[holds]
        for number, line in enumerate(lines):
            yield f"    {page.paint(role, symbol) if number == 0 else ' ' * len(symbol)} {line}".rstrip()


def _latency(summary: Summary, page: _Page) -> Iterator[str]:
    response, done = summary.requests.response_ms, summary.tasks.done_ms
    names, tasks = ("p50", "p95", "p99", "max"), summary.tasks
    never_done = f"{number_between(tasks.never_done_low, tasks.never_done)} never done" if tasks.never_done else ""
    yield page.paint("title", f"{'':<24}" + "".join(f"{name:>10}" for name in names))
    rows: tuple[tuple[str, Durations, str, Role], ...] = (
        ("the client waits for", response, f"{response.n_never:,} never answered" if response.n_never else "", "client"),
        ("the work is done after", done, never_done, "work"),
    )
    for label, durations, never, role in rows:
        empty = page.glyphs.none if durations.n == 0 else "never"
        cells = "".join(f"{duration_ms(getattr(durations, name), none=empty):>10}" for name in names)
        line = page.paint(role, f"{label:<24}{cells}")
        # The number of those that never end belongs to the percentiles: without it they would flatter.
        yield f"{line}  {never}".rstrip() if 66 + len(never) <= page.width else line
        if 66 + len(never) > page.width:
            yield f"{'':<24}{never:>40}"


def _chart(summary: Summary, page: _Page) -> Iterator[str]:
    """The backlog; nothing where no server wrote task rows."""
    tasks, glyphs = summary.tasks, page.glyphs
    if not tasks.accepted + tasks.foreign:
        return
    columns = columns_of(summary, page.width - _LABEL_COLUMNS - 2)
    yield page.paint("title", f"Backlog: tasks accepted and not started, at most {tasks.backlog_max:,}")
    yield from _marks(columns)
    peak = max(columns.backlog_max, default=0)
    n_rows = min(max(peak, 3), _CHART_ROWS)
    top = math.ceil(nice_ceiling(max(peak, n_rows), _TOPS))
    for number, row in enumerate(bars(columns, n_rows, top, glyphs)):
        label = "" if number else f"{top:,}"
        yield f"{label:>{_LABEL_COLUMNS - 2}} {glyphs.tick if label else glyphs.axis}{row}".rstrip()
    yield from _axis(columns, page, "0")


def _strips(summary: Summary, page: _Page) -> Iterator[str]:
    """Response and to-done on one scale: the opening between them is the story."""
    columns = columns_of(summary, page.width - _LABEL_COLUMNS - 2)
    rows: tuple[tuple[str, Sequence[float | None], Role], ...] = (
        ("answer", columns.response_p95_ms, "client"),
        ("done", columns.done_p95_ms, "work"),
    )
    values = [value for _, durations, _ in rows for value in durations if value]
    if not values:
        return
    low, high = min(values), max(values)
    yield page.paint("title", f"p95 over time, on one log scale from {duration_ms(low)} to {duration_ms(high)}")
    is_alone = not summary.tasks.accepted + summary.tasks.foreign
    if is_alone:
        yield from _marks(columns)
    for label, durations, role in rows:
        if any(durations):
            drawn = page.paint(role, strip(durations, columns, low, high, page.glyphs).rstrip())
            yield f"{label:>{_LABEL_COLUMNS - 2}} {page.glyphs.axis}{drawn}"
    if is_alone:
        yield from _axis(columns, page, "")


def _marks(columns: Columns) -> Iterator[str]:
    marks = marks_row(columns, len(columns.backlog_max))
    if marks:
        yield f"{'':<{_LABEL_COLUMNS}}{marks}"


def _axis(columns: Columns, page: _Page, zero: str) -> Iterator[str]:
    glyphs = page.glyphs
    line, times = time_axis(columns, glyphs)
    yield f"{zero:>{_LABEL_COLUMNS - 2}} {glyphs.corner}{line}"
    yield f"{'':<{_LABEL_COLUMNS}}{times}"
    legend = f"{glyphs.load} load  {glyphs.rest} afterwards"
    if columns.faults:
        legend += f"  {glyphs.fault} fault" if columns.other_faults else f"  {glyphs.fault} restart"
        drawn = {fault.column for fault in columns.faults}
        if any(is_outage and column not in drawn for column, is_outage in enumerate(columns.is_outage)):
            legend += f"  {glyphs.outage} nobody answers"
    yield f"{'':<{_LABEL_COLUMNS}}{legend}"


def _pool(summary: Summary, page: _Page) -> Iterator[str]:
    pool = summary.pool
    if pool is None or not summary.tasks.accepted + summary.tasks.foreign:
        return
    words = f"{most_busy(pool.busy_max, pool.size)}: never saturated"
    if pool.saturated_s:
        full = f"{duration_s(pool.saturated_s)} of {duration_s(pool.lived_s)}"
        words = f"{pool.size:,}/{pool.size:,} threads busy for {full}"
        if pool.busy_max != pool.size:
            # Full with fewer, or with more: it was changed, squeezed, or in the middle of a restart.
            words = f"{most_busy(pool.busy_max, pool.size)}; for {full} all that there were then"
    yield from page.wrapped("Pool", words)


def _restarts(summary: Summary, page: _Page) -> Iterator[str]:
    if not summary.boots:
        return
    yield page.paint("title", "Server")
    for boot, after in zip(summary.boots, [*summary.boots[1:], None], strict=True):
        yield from page.wrapped(f"  boot {boot.boot}", _boot_words(boot, after, witnessed=summary.tasks.server_is_witness))


def _faults(summary: Summary, page: _Page) -> Iterator[str]:
    """What was done on purpose and did not end a boot: those are told with the boots."""
    lines = [(fault.fault, fault_words(fault)) for fault in summary.faults if not fault.ends_boot]
    if not lines:
        return
    yield page.paint("title", "Faults")
    for name, words in lines:
        yield from page.sentence(f" {page.glyphs.dot}", f"{name}: {words}", None)


def _steered(summary: Summary, page: _Page) -> Iterator[str]:
    """What was asked of it while it went on."""
    if not summary.steered:
        return
    yield page.paint("title", "Changed by hand")
    for each in summary.steered:
        what = f"was not done: {each.refused}" if each.landed_s is None else each.detail
        yield from page.sentence(f" {page.glyphs.dot}", f"{at_s(each.landed_s or each.at_s)}  {each.text}: {what}", None)
    if summary.steered_stages:
        yield from page.sentence("  ", f"as a plan: --stages '{summary.steered_stages}'", None)


def _boot_words(boot: BootSummary, after: BootSummary | None, *, witnessed: bool) -> str:
    words = f"pid {boot.pid}, "
    words += "never ready" if boot.ready_s is None else f"ready at {at_s(boot.ready_s)}"
    if boot.died_s is None:
        return f"{words}; still running"
    left = [f"{number:,} {word}" for number, word in zip(left_by(boot), ("queued", "running"), strict=True) if number]
    # Where the server wrote no rows, nobody knows what it had left.
    with_it = f" with {' + '.join(left)}" if left else " with nothing left to do" if witnessed else ""
    if boot.signal is None:
        return f"{words}; died on its own at {at_s(boot.died_s)} (status {boot.exit_status}){with_it}"
    frozen = "frozen, then " if boot.frozen else ""
    words += f"; {frozen}{boot.signal}" if boot.fault else f"; stopped at the end by {boot.signal}"
    words += f" at {at_s(boot.signalled_s)}"
    if boot.signalled_s is not None:
        words += f", dead {duration_s(max(boot.died_s - boot.signalled_s, 0.0))} later (status {boot.exit_status}){with_it}"
    if boot.predicted_lost is not None:
        words += f" (predicted: {boot.predicted_lost:,})"
    if boot.fault:
        if boot.recovery_s is not None:
            words += f"; answered again {duration_s(boot.recovery_s)} after it went down"
        elif after is not None and after.ready_s is not None and boot.signalled_s is not None:
            # A load that ends before the server is back asks nothing of it any more.
            words += f"; ready again {duration_s(after.ready_s - boot.signalled_s)} later, and no request was answered after it"
        else:
            words += "; nothing answered after it"
    return words


def _accounting(summary: Summary, page: _Page) -> Iterator[str]:
    requests, tasks = summary.requests, summary.tasks
    yield page.paint("title", "Accounting")
    parts = [f"{requests.acked:,} acknowledged", *rejected_words(requests), f"{requests.indeterminate:,} without an answer"]
    yield from page.wrapped(" requests", f"{requests.attempted:,} sent = {' + '.join(parts)}")
    if requests.counted:
        text = f"{requests.counted:,} of them came back as histograms: what became of the work of each one is not known"
        yield from page.wrapped("", text)
    if requests.unsent:
        yield from page.wrapped(
            "", f"and {requests.unsent:,} never sent: {_why_shed(requests.unsent, summary.generator.overdue)}"
        )
    if tasks.inline:
        yield from page.wrapped(" work", f"done before answering: {counted(tasks.effects, 'effect')} in the world")
    elif tasks.server_is_witness or tasks.accepted:
        states = [(name, getattr(tasks, name)) for name in _ORDER]
        words = " + ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in states if number or name == "finished")
        yield from page.wrapped(" tasks", f"{tasks.accepted:,} accepted = {words}")
        if cancelled := tasks.cancelled_running + tasks.cancelled_queued:
            of = " and ".join(["failed"] * bool(tasks.cancelled_running) + ["skipped"] * bool(tasks.cancelled_queued))
            yield from page.wrapped("", f"of those {of}: {cancelled:,} cancelled by the app itself")
    yield from page.wrapped(" lost", _lost_words(tasks))
    if not tasks.inline and tasks.effects:
        parts = [f"{tasks.effects_finished:,} finished", f"{tasks.effects_interrupted:,} interrupted"]
        others = (("failed", tasks.effects_failed), ("other", tasks.effects_other), ("more than once", tasks.duplicated))
        parts += [f"{number:,} {name}" for name, number in others if number]
        yield from page.wrapped(" effects", f"{tasks.effects:,} in the world = {' + '.join(parts)}")
    if tasks.recovered:
        whose = "its" if tasks.recovered == 1 else "their"
        yield from page.wrapped("", f"{counted(tasks.recovered, 'request')} got no answer, yet {whose} work was done")
    if tasks.duplicated:
        yield from page.wrapped("", f"{counted(tasks.duplicated, 'effect')} arrived more than once")


def _why_shed(unsent: int, overdue: int) -> str:
    too_many, too_late = "the generator had too many in flight", "the generator could not send them in time"
    if not overdue:
        return too_many
    return too_late if overdue == unsent else f"{too_late} ({overdue:,}), or {too_many} ({unsent - overdue:,})"


def _scenario(summary: Summary, page: _Page) -> Iterator[str]:
    """What the scenario found in its world; nothing if that is what the accounting says already."""
    scenario = summary.scenario
    if scenario is None:
        return
    lines = [figure.text for figure in scenario.figures if figure.text]
    if len(scenario.effects) > 1:
        lines.insert(0, listed([f"{each.arrived:,} {each.name}" for each in scenario.effects]) + " arrived")
    if lines:
        yield page.paint("title", "Left in the world")
    for line in lines:
        yield from page.sentence(f" {page.glyphs.dot}", line, None)


def _lost_words(tasks: Tasks) -> str:
    lost = number_between(tasks.lost_low, tasks.lost)
    if not tasks.lost:
        return lost
    broken = number_between(tasks.broken_promises_low, tasks.broken_promises)
    known = tasks.lost_queued + tasks.lost_running + tasks.lost_discarded
    parts = split_words(tasks.lost_queued, tasks.lost_running, tasks.lost_discarded)
    split = f" ({parts})" if known and not tasks.inline else ""
    return f"{lost}{split}, {broken} of them acknowledged: broken promises"


def _findings(summary: Summary, page: _Page) -> Iterator[str]:
    roles: dict[str, Role] = {"critical": "bad", "warning": "unsure"}
    symbols = {"critical": page.glyphs.bad, "warning": page.glyphs.unsure}
    if not summary.findings:
        return
    yield page.paint("title", "Findings")
    for each in summary.findings[:_MOST_FINDINGS]:
        lines = lines_of(each.text, page.width - 4)
        symbol = page.paint(roles[each.severity], symbols[each.severity]) if each.severity in roles else page.glyphs.dot
        yield from (f"  {symbol if number == 0 else ' '} {line}" for number, line in enumerate(lines))
        for number, line in enumerate(lines_of(each.next, page.width - 6)):
            yield f"    {page.glyphs.leads_to if number == 0 else ' '} {line}"
    more = len(summary.findings) - _MOST_FINDINGS
    if more > 0:
        yield f"    and {counted(more, 'more finding')} in summary.json"


def _invariants(summary: Summary, page: _Page) -> Iterator[str]:
    broken = [each for each in summary.invariants if not each.holds]
    n = len(summary.invariants)
    if not broken:
        yield page.paint("good", f"{page.glyphs.good} {n} of {n} invariants hold")
        return
    yield page.paint("bad", f"{page.glyphs.bad} {len(broken)} of {n} invariants {'is' if len(broken) == 1 else 'are'} broken")
    for each in broken:
        yield from page.wrapped(f"  {each.id}", f"{each.title}: {each.detail}")


def _to_ascii(text: str) -> str:
    """What invariants and reasons say with symbols, in characters that every terminal has."""
    for symbol, plain in (("⊆", "<="), ("–", "-"), ("µ", "u"), ("…", "...")):
        text = text.replace(symbol, plain)
    return text.encode("ascii", "replace").decode("ascii")
