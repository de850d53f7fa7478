"""What all stages at one rate come to together: whether it holds, surely or as it seems. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from harness.capacity.schema import GrowthSeen, Measured
from harness.growth import Growth, pooled
from harness.pending import unsettled

__all__ = ["Standing", "grown", "growth_at", "limits_standing", "standing", "surely_broken", "unclear", "untold", "usable_of"]


class Standing(IntEnum):
    """What all stages at a rate come to."""

    BROKEN = 0
    SEEMS_BROKEN = 1
    SEEMS_TO_HOLD = 2
    HOLDS = 3


def standing(results: Sequence[Measured], within: float) -> Standing | None:
    """All stages at one rate, judged together. None: the generator could send none of them."""
    usable = usable_of(results)
    if not usable:
        return None
    if any(each.died for each in usable):
        return Standing.BROKEN
    rate = usable[0].rate
    growth = growth_at(usable)
    if growth is None:
        # It is not known whether what is pending grows, and does not matter.
        return limits_standing(usable)
    if growth.grows:
        of_growth = Standing.BROKEN
    elif growth.high <= within * rate:
        of_growth = Standing.HOLDS
    else:
        seems_to_hold = growth.is_little or growth.per_s <= within * rate
        of_growth = Standing.SEEMS_TO_HOLD if seems_to_hold else Standing.SEEMS_BROKEN
    together = min(of_growth, limits_standing(usable))
    if unclear(usable):
        together = min(together, Standing.SEEMS_TO_HOLD)
    if any(each.purpose == "confirm" and _is_bad(each) for each in usable):
        # The long stage is there to show what shorter ones cannot: they do not outvote it.
        return min(together, Standing.SEEMS_BROKEN)
    return together


def unclear(results: Sequence[Measured]) -> str:
    """What none of these stages could see of that which has to hold, in words; empty: at least one of them saw it."""
    usable = usable_of(results)
    if usable and all(each.unseen for each in usable):
        return usable[0].unseen
    for text in {limit.text: None for each in usable for limit in each.limits}:
        seen = [next((limit for limit in each.limits if limit.text == text), None) for each in usable]
        untold = [limit for limit in seen if limit is not None and limit.holds is None]
        if len(untold) == len(usable):
            return f"{text} cannot be told: {untold[0].why}"
    return ""


def _is_bad(result: Measured) -> bool:
    """One stage by itself: what is pending grows, or a limit seems to be broken."""
    grows = result.growth is not None and grown(result.growth).grows
    return grows or limits_standing([result]) <= Standing.SEEMS_BROKEN


def limits_standing(results: Sequence[Measured]) -> Standing:
    """Of the limits alone; the worst of them."""
    worst = Standing.HOLDS
    for text in {limit.text for each in results for limit in each.limits}:
        seen = [limit for each in results for limit in each.limits if limit.text == text]
        # One that is told only where it is broken (too many failing requests) was held by the other stages.
        untold = sum(all(limit.text != text for limit in each.limits) for each in results)
        held, broken = sum(each.holds is True for each in seen) + untold, sum(each.holds is False for each in seen)
        if held == broken:
            found = Standing.SEEMS_BROKEN if broken else Standing.SEEMS_TO_HOLD
        elif held > broken:
            found = Standing.SEEMS_TO_HOLD if broken or not any(each.sure for each in seen if each.holds) else Standing.HOLDS
        else:
            found = (
                Standing.SEEMS_BROKEN if held or not any(each.sure for each in seen if each.holds is False) else Standing.BROKEN
            )
        worst = min(worst, found)
    return worst


def grown(seen: GrowthSeen) -> Growth:
    """The same, as it is calculated with."""
    return Growth(**seen.model_dump())


def surely_broken(results: Sequence[Measured]) -> bool:
    """Whether a rate is shown not to hold, and that may be relied on."""
    usable = usable_of(results)
    growth = growth_at(usable)
    return any(each.died for each in usable) or bool(
        usable and ((growth is not None and growth.surely.grows) or limits_standing(usable) is Standing.BROKEN)
    )


def usable_of(results: Sequence[Measured]) -> list[Measured]:
    """Those that say something of the server. Without growth, only that it does not hold."""
    return [each for each in results if each.died or (not each.generator and (each.growth is not None or _is_bad(each)))]


def untold(result: Measured) -> str:
    """Why a stage without growth says nothing of it."""
    return unsettled(result.settling_s, may_hang=result.may_hang) if result.settling_s else "there is no load to look at"


def growth_at(results: Sequence[Measured]) -> Growth | None:
    """Of all stages at one rate together."""
    parts = [grown(each.growth) for each in results if each.growth is not None]
    return pooled(parts) if parts else None
