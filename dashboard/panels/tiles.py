"""The tiles at the top: what the client sees, what the work sees, the pool, what was lost. Pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dashboard.panels.words import UNKNOWN, count, elided
from dashboard.raster.tile import Tile, Tone
from harness.live.frame import NOT_KNOWN, Frame, Side, SideState
from harness.wording import counted

if TYPE_CHECKING:
    from harness.schema import PoolUse

__all__ = ["client", "lost", "pool", "tone", "work"]

_LEAST_FULL_S: Final = 0.1
_OFTEN: Final = 0.1
_TONES: Final = {
    SideState.WAITING: Tone.IDLE,
    SideState.OK: Tone.GOOD,
    SideState.SLOW: Tone.WARN,
    SideState.BEHIND: Tone.BAD,
    SideState.FAILING: Tone.BAD,
    SideState.DOWN: Tone.BAD,
}


def tone(side: Side) -> Tone:
    """How bad it is."""
    return _TONES[side.state]


def client(frame: Frame) -> Tile:
    """The left one of the two that say it all."""
    return Tile(
        "CLIENT SEES", frame.client.headline, tone(frame.client), lines=tuple(line for line in frame.client.lines if line)
    )


def work(frame: Frame) -> Tile:
    """The right one."""
    return Tile("WORK SEES", frame.work.headline, tone(frame.work), lines=tuple(line for line in frame.work.lines if line))


def pool(frame: Frame) -> Tile:
    """How much of what runs tasks is in use."""
    now = frame.now
    if frame.summary is not None and (used := frame.summary.pool) is not None:
        return _pool_of_all(used)
    if now.pool_size is None or now.pool_busy is None:
        unseen = "not known since the crash" if frame.boot.in_words == NOT_KNOWN else "nothing seen"
        running = f"{count(now.busy)} running" if now.busy is not None else unseen
        return Tile("POOL", UNKNOWN, Tone.IDLE, lines=(running,))
    full = now.pool_busy >= now.pool_size > 0
    lines = (_saturated_for(frame.totals.saturated_s, is_full=full),)
    if now.loop_blocked_by:
        lines = (elided(f"loop blocked by {now.loop_blocked_by}", 26),)
    return Tile(
        f"POOL {now.pool_busy}/{now.pool_size}",
        "SATURATED" if full else "OK",
        Tone.WARN if full else Tone.GOOD,
        lines=lines,
        bar=min(now.pool_busy / now.pool_size, 1.0) if now.pool_size else None,
    )


def _saturated_for(seconds: float, *, is_full: bool) -> str:
    if seconds >= 1:
        return f"saturated for {seconds:.0f} s"
    return "saturated for under 1 s" if seconds > 0 or is_full else "never saturated"


def _pool_of_all(used: PoolUse) -> Tile:
    """Of a run that is over."""
    full_s, lived_s = used.saturated_s or 0.0, used.lived_s or 0.0
    title = f"POOL {used.busy_max}/{used.size}" if used.busy_max <= used.size else f"POOL {used.size}"
    if full_s < _LEAST_FULL_S:
        return Tile(title, "OK", Tone.GOOD, lines=("at most, never full",), bar=min(used.busy_max / max(used.size, 1), 1.0))
    share = full_s / lived_s if lived_s else 0.0
    lines = (f"full for {full_s:.1f} s of {lived_s:.1f} s",)
    return Tile(title, "SATURATED", Tone.WARN if share >= _OFTEN else Tone.GOOD, lines=lines)


def lost(frame: Frame) -> Tile:
    """What the deaths of the server cost, and what it put aside although it had been acknowledged."""
    totals = frame.totals
    if not frame.about.has_server_witness:
        return Tile("LOST", UNKNOWN, Tone.IDLE, lines=("the server is not seen",))
    number = totals.lost_queued + totals.lost_running + totals.lost_discarded
    restarts = counted(totals.restarts, "restart")
    if frame.boot.in_words == NOT_KNOWN:
        # What the server held when its session died may be lost too.
        before = (f"{number:,} before the crash",) if number else ()
        return Tile("LOST", UNKNOWN, Tone.BAD if number else Tone.IDLE, lines=("not known since the crash", *before))
    if not number:
        return Tile("LOST", "0", Tone.GOOD, lines=(restarts,))
    where = f"{totals.lost_queued:,} queued + {totals.lost_running:,} run"
    if totals.lost_discarded:
        where = (
            f"{totals.lost_discarded:,} discarded" if totals.lost_discarded == number else f"{where} + {totals.lost_discarded:,}"
        )
    return Tile("LOST", f"{number:,}", Tone.BAD, lines=(restarts, where))
