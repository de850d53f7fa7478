"""Other lines of the live screen: headline, latest events, log, and figures as text where there is no room. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from dashboard.panels.arrange import LEAST_HEIGHT, LEAST_WIDTH
from dashboard.panels.lines import SYMBOLS, Line, Role, Run, cut, line
from dashboard.panels.words import UNKNOWN, clock, count, ms, rate
from harness.live.frame import NOT_KNOWN, Frame, Mark, MarkKind, Phase, SideState

__all__ = ["event_lines", "headline", "log_lines", "slider_instant", "slider_line", "tiny_lines"]

_ROLES: Final[dict[MarkKind, Role]] = {
    MarkKind.FAULT: "bad",
    MarkKind.DOWN: "bad",
    MarkKind.PROBLEM: "bad",
    MarkKind.UP: "good",
    MarkKind.FAULT_ENDED: "good",
    MarkKind.LOAD: "response",
    MarkKind.SETTING: "response",
    MarkKind.NOTE: "chosen",
    MarkKind.PHASE: "muted",
}
_NAMES: Final = {
    MarkKind.FAULT: "FAULT",
    MarkKind.DOWN: "DOWN",
    MarkKind.PROBLEM: "PROBLEM",
    MarkKind.UP: "UP",
    MarkKind.FAULT_ENDED: "OVER",
    MarkKind.LOAD: "LOAD",
    MarkKind.SETTING: "CHANGE",
    MarkKind.NOTE: "NOTE",
    MarkKind.PHASE: "PHASE",
}
_SIDE_ROLES: Final[dict[SideState, Role]] = {
    SideState.WAITING: "muted",
    SideState.OK: "good",
    SideState.SLOW: "warn",
    SideState.BEHIND: "bad",
    SideState.FAILING: "bad",
    SideState.DOWN: "bad",
}


def headline(frame: Frame, width: int) -> Line:
    """The worst finding; without one, why the tiles say what they say."""
    if frame.problem:
        return cut(line((" ✖ ", "bad"), frame.problem), width)
    if frame.findings:
        first = frame.findings[0]
        symbol, role = SYMBOLS[first.severity]
        more = f"  (f: {len(frame.findings) - 1} more)" if len(frame.findings) > 1 else "  (f: why)"
        text = cut(line((f" {symbol} ", role), first.text), max(width - len(more), 10))
        return cut((*text, (more, "muted")), width)
    is_work_worse = frame.work.state not in {SideState.OK, SideState.WAITING} or frame.phase is Phase.CRASHED
    worst = frame.work if is_work_worse else frame.client
    return cut(line(f" {worst.why}"), width)


def event_lines(frame: Frame, height: int, width: int) -> Sequence[Line]:
    """The latest ones, the newest last."""
    shown = frame.marks[-height:] if height > 0 else ()
    lines = [
        cut(
            line((f" {clock(mark.at_s, tenths=True)} ", "muted"), (f"{_NAMES[mark.kind]:<8}", _ROLES[mark.kind]), mark.text),
            width,
        )
        for mark in shown
    ]
    if frame.problem:
        lines = [*lines, cut(line((" ✖ ", "bad"), frame.problem), width)][-height:]
    return lines


def log_lines(frame: Frame, height: int, width: int) -> Sequence[Line]:
    """The last lines that the children wrote."""
    if height < 1:
        return []
    title = line((" Log", "title"), ("  what the server wrote", "muted"))
    if not frame.log:
        return [title, line(("  nothing so far", "muted"))][:height]
    last = frame.log[-(height - 1) :] if height > 1 else ()
    return [cut(title, width), *(cut(line((f" {each.source} ", "muted"), each.text.expandtabs(4)), width) for each in last)]


def tiny_lines(frame: Frame, width: int, height: int) -> Sequence[Line]:
    """A line for each figure, the most important first, for a terminal too small for a picture."""
    lines = [cut(each, width) for each in _tiny(frame)]
    hint = cut(line((f"enlarge to {LEAST_WIDTH}x{LEAST_HEIGHT}", "muted")), width)
    return [*lines[: max(height - 1, 0)], hint][: max(height, 0)]


def _tiny(frame: Frame) -> Iterator[Line]:
    totals, now, is_seen = frame.totals, frame.now, frame.about.has_server_witness
    # Rates of the last seconds say nothing of a run that is over.
    is_over = frame.phase in {Phase.JUDGE, Phase.ENDED, Phase.CRASHED}
    sides: tuple[tuple[str, Run], ...] = (
        ("client", (frame.client.headline, _SIDE_ROLES[frame.client.state])),
        ("work", (frame.work.headline, _SIDE_ROLES[frame.work.state])),
    )
    for label, run in sides:
        yield line((f"{label} ", "muted"), run)
    yield line(("response p95 ", "muted"), (ms(totals.response_p95_ms), "response"))
    yield line(("done p95 ", "muted"), (ms(totals.done_p95_ms), "done"))
    yield line(("queued ", "muted"), count(now.backlog), ("  running ", "muted"), count(now.busy))
    all_lost = totals.lost_queued + totals.lost_running + totals.lost_discarded
    lost = count(all_lost) if is_seen and frame.boot.in_words != NOT_KNOWN else UNKNOWN
    yield line(("lost ", "muted"), (lost, "" if lost in {"0", UNKNOWN} else "bad"))
    yield line(("server ", "muted"), (frame.boot.in_words, "good" if frame.boot.is_ready else "bad"))
    phase = f"  {frame.phase.value}" if frame.phase is not Phase.LOAD else ""
    yield line(("time ", "muted"), f"{clock(frame.at_s)} / {clock(frame.about.for_s)}{phase}")
    finished = count(totals.finished) if is_seen else UNKNOWN
    yield line(("finished ", "muted"), finished, ("" if is_over else f"  {rate(now.finished_per_s)}", "done"))
    yield line(("requests ", "muted"), f"{totals.attempted:,}", ("" if is_over else f"  {rate(now.offered_per_s)}", "response"))
    if frame.findings:
        symbol, role = SYMBOLS[frame.findings[0].severity]
        yield line((f"{symbol} ", role), frame.findings[0].text)


def slider_line(frame: Frame, marks: Sequence[Mark], at_s: float, width: int, *, playing: float) -> Line:
    """Where in a recording one is; events stand on it, and a click goes there."""
    front = f" {'▶' if playing else '❚❚'} {clock(at_s, tenths=True)} "
    back = f" {clock(frame.newest_s)}{f' ×{playing:g}' if playing else ''} "
    columns = width - len(front) - len(back)
    if columns < 4:
        return cut(line(front), width)
    end_s = max(frame.newest_s, 1e-9)
    here = min(int(max(at_s, 0) / end_s * (columns - 1)), columns - 1)
    cells: list[Run] = [("━", "response") if column < here else ("─", "muted") for column in range(columns)]
    for mark in marks:
        if mark.kind is not MarkKind.PHASE and 0 <= mark.at_s <= end_s:
            cells[int(mark.at_s / end_s * (columns - 1))] = ("┃", _ROLES[mark.kind])
    cells[here] = ("●", "title")
    return ((front, "title"), *cells, (back, "muted"))


def slider_instant(frame: Frame, column: int, at_s: float, width: int, *, playing: float) -> float | None:
    """The instant under a column of the slider. None: none is there."""
    n_front = len(f" {'▶' if playing else '❚❚'} {clock(at_s, tenths=True)} ")
    n_back = len(f" {clock(frame.newest_s)}{f' ×{playing:g}' if playing else ''} ")
    columns = width - n_front - n_back
    if columns < 4 or not 0 <= column - n_front < columns:
        return None
    return (column - n_front) / (columns - 1) * frame.newest_s
