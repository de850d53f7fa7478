"""The line at the top: what runs, whether the server is up, how far it is, and whether one looks at now. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.panels.lines import VERDICTS, Line, Role, Run, cut, line, width_of
from dashboard.panels.words import UNKNOWN, clock, setting
from harness.live.frame import NOT_KNOWN, Frame, Phase

__all__ = ["Watch", "status_line"]


@dataclass(frozen=True, slots=True)
class Watch:
    """How one looks on."""

    is_replay: bool = False
    is_held: bool = False  # an instant of the past is shown, and stays
    playing: float = 0.0  # times as fast as it was; 0: it stands still
    ui_share: float | None = None  # of one core: what the screen itself uses; None: not known yet
    has_tiles: bool = True  # pool and lost have tiles of their own
    note: str = ""  # read only


def status_line(frame: Frame, watch: Watch, width: int) -> Line:
    """As much of it as there is room for; what matters most goes last."""
    about = frame.about
    segments = [
        _Segment(9, line((about.title, "title"))),
        _Segment(5, line(_what(frame)), line(_what(frame, short=True))),
        _Segment(8, _server(frame), _server(frame, short=True)),
        _Segment(7, _progress(frame), _progress(frame, short=True)),
        _Segment(10, _watching(frame, watch), _watching(frame, watch, short=True)),
    ]
    if not watch.has_tiles:
        segments.append(_Segment(6, _pool_and_lost(frame), _pool_and_lost(frame, short=True)))
    segments.append(_Segment(2, line((about.run_id, "muted"))))
    if watch.note:
        segments.append(_Segment(4, line((watch.note, "muted"))))
    ui = f"ui {watch.ui_share:.0%}".replace("%", " %") if watch.ui_share is not None else ""
    segments.append(_Segment(4, line((ui, "muted"))))
    return _fitted([segment for segment in segments if width_of(segment.long)], width)


@dataclass(slots=True)
class _Segment:
    weight: int
    long: Line
    short: Line | None = None


def _fitted(segments: list[_Segment], width: int) -> Line:
    gap = 2

    def needed() -> int:
        return 1 + sum(width_of(segment.long) + gap for segment in segments)

    while needed() > width and len(segments) > 1:
        shrinkable = [segment for segment in segments if segment.short is not None]
        least = min(segments, key=lambda segment: segment.weight)
        if shrinkable and min(each.weight for each in shrinkable) <= least.weight + 3:
            chosen = min(shrinkable, key=lambda segment: segment.weight)
            chosen.long, chosen.short = chosen.short or (), None
        else:
            segments.remove(least)
        segments[:] = [segment for segment in segments if width_of(segment.long)]
    runs: list[Run] = [(" ", "")]
    for segment in segments:
        runs += [*segment.long, (" " * gap, "")]
    return cut(tuple(runs[:-1]), width)


def _what(frame: Frame, *, short: bool = False) -> str:
    about, settings = frame.about, {each.name: each.value for each in frame.settings}
    kind = settings.get("tasks") or about.tasks
    load = f"{settings['rate']:g}/s" if isinstance(settings.get("rate"), float | int) else about.load
    if isinstance(settings.get("users"), float | int):
        load = f"{setting(settings['users'])} users"
    if short:
        return " · ".join(str(part) for part in (kind, load) if part)
    pool = settings.get("pool", about.pool)
    workers = f"{about.workers} workers" if about.workers > 1 else ""
    parts = [about.engine, kind, f"pool {setting(pool)}" if pool is not None else "", workers, load]
    return " · ".join(str(part) for part in parts if part)


def _server(frame: Frame, *, short: bool = False) -> Line:
    boot = frame.boot
    if boot.in_words == NOT_KNOWN:
        return line((f"{'' if short else 'server '}{NOT_KNOWN}", "warn"))
    pid = f" pid {boot.pid}" if boot.pid is not None and not short else ""
    if boot.is_ready and boot.in_words == "up":
        return line((f"● UP{pid}", "good"))
    if not boot.is_up and boot.number == 0:
        return line(("○ not started", "muted"))
    if not boot.is_up and boot.in_words == "ended":
        return line(("○ stopped", "muted"))
    if not boot.is_up:
        over = frame.phase in {Phase.ENDED, Phase.JUDGE}
        return line(("✖ DOWN at the end" if over else f"✖ {boot.in_words.upper()} {boot.for_s:.0f} s", "bad"))
    return line((f"▲ {boot.in_words}{pid}", "warn"))


def _progress(frame: Frame, *, short: bool = False) -> Line:
    of = frame.about.for_s
    if frame.phase is Phase.START:
        return line(("starting", "muted")) if frame.at_s >= 0 or frame.boot.number == 0 else line((clock(frame.at_s), "muted"))
    if frame.phase is Phase.CRASHED:
        return line(("✖ CRASHED", "bad"))
    times = clock(frame.at_s) if short else f"{clock(frame.at_s)} / {clock(of)}"
    if frame.phase is Phase.LOAD:
        return line(times)
    if frame.phase is Phase.DRAIN:
        return line(times, (" draining", "warn"))
    if frame.phase is Phase.ENDED and frame.summary is not None:
        return line(times, " ", VERDICTS.get(frame.summary.verdict, (frame.summary.verdict, "title")))
    words = {Phase.STOP: "stopping", Phase.JUDGE: "judging"}.get(frame.phase, "ended")
    return line(times, (f" {words}", "muted"))


def _watching(frame: Frame, watch: Watch, *, short: bool = False) -> Line:
    if watch.is_replay:
        name = "▶" if watch.playing else "❚❚"
        speed = f" ×{watch.playing:g}" if watch.playing else ""
        return line((f"{name}{speed}" if short else f"{name} replay{speed}", "chosen"))
    if watch.is_held:
        behind = max(frame.newest_s - frame.at_s, 0.0)
        if frame.newest.phase in {Phase.ENDED, Phase.CRASHED}:
            return line((f"❚❚ {'' if short else 'frozen, '}{behind:.0f} s before the end", "chosen"))
        return line((f"❚❚ {behind:.0f} s behind" if short else f"❚❚ frozen, {behind:.0f} s behind", "chosen"))
    return ()


def _pool_and_lost(frame: Frame, *, short: bool = False) -> Line:
    now, totals = frame.now, frame.totals
    runs: list[Run] = []
    if now.pool_size is not None and now.pool_busy is not None:
        full = now.pool_busy >= now.pool_size > 0
        role: Role = "warn" if full else ""
        runs.append((f"{'' if short else 'pool '}{now.pool_busy}/{now.pool_size}{' ▲' if full else ''}", role))
    elif frame.summary is not None and frame.summary.pool is not None:
        used = frame.summary.pool
        most = f"{used.busy_max}/{used.size}" if used.busy_max <= used.size else f"{used.size}"
        runs.append((f"{'' if short else 'pool '}{most}", "warn" if used.saturated_s else ""))
    elif not short:
        runs.append((f"pool {UNKNOWN}", "muted"))
    lost = totals.lost_queued + totals.lost_running + totals.lost_discarded
    if lost:
        runs.append((f"  ✖ lost {lost:,}" if not short else f" ✖{lost:,}", "bad"))
    return tuple(runs)
