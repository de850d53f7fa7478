"""The tiles at the top: what the client sees, what the work sees, the pool, what was lost. Pure functions."""

from __future__ import annotations

from typing import Final

from dashboard.panels.words import UNKNOWN, count, elided
from dashboard.raster.tile import Tile, Tone
from harness.live.frame import Frame, Side, SideState
from harness.wording import counted

__all__ = ["client", "lost", "pool", "tone", "work"]

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
    if now.pool_size is None and frame.about.pool is not None and frame.about.has_server_witness:
        # The server is not there now; how it was is known.
        was = frame.totals.saturated_s
        lines = (f"was saturated for {was:.0f} s" if was >= 1 else "was never saturated",)
        return Tile(f"POOL {frame.about.pool}", "GONE", Tone.IDLE, lines=lines)
    if now.pool_size is None or now.pool_busy is None:
        running = f"{count(now.busy)} running" if now.busy is not None else "nothing seen"
        return Tile("POOL", UNKNOWN, Tone.IDLE, lines=(running,))
    full = now.pool_busy >= now.pool_size > 0
    lines = (f"saturated for {frame.totals.saturated_s:.0f} s",) if frame.totals.saturated_s >= 1 else ("never saturated",)
    if now.loop_blocked_by:
        lines = (elided(f"loop blocked by {now.loop_blocked_by}", 26),)
    return Tile(
        f"POOL {now.pool_busy}/{now.pool_size}",
        "SATURATED" if full else "OK",
        Tone.WARN if full else Tone.GOOD,
        lines=lines,
        bar=min(now.pool_busy / now.pool_size, 1.0) if now.pool_size else None,
    )


def lost(frame: Frame) -> Tile:
    """What the deaths of the server cost."""
    totals = frame.totals
    if not frame.about.has_server_witness:
        return Tile("LOST", UNKNOWN, Tone.IDLE, lines=("the server is not seen",))
    number = totals.lost_queued + totals.lost_running
    restarts = counted(totals.restarts, "restart")
    if not number:
        return Tile("LOST", "0", Tone.GOOD, lines=(restarts,))
    return Tile("LOST", f"{number:,}", Tone.BAD, lines=(restarts, f"{totals.lost_queued:,} queued + {totals.lost_running:,} run"))
