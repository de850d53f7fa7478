"""A search in words: its stages, and its answer. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harness.capacity.schema import Answer, Measured
from harness.capacity.standing import Standing, grown, standing, untold, usable_of
from harness.wording import per_second

__all__ = ["in_words", "interval", "noise_in_words", "rate_of", "stage_in_words"]

NOISY_SHARE: Final = 0.1
"""Of the time of a stage: as for the backlog of a run (docs/verdict.md)."""


def rate_of(rate: float) -> str:
    """Three digits: `64.5/s`."""
    return f"{rate:.3g}/s" if rate < 999.5 else f"{rate:,.0f}/s"


def interval(answer: Answer) -> str:
    """Between which rates the capacity lies."""
    low = "0" if answer.low is None else rate_of(answer.low)
    if answer.found is None:
        return "none found"
    return f"{low} to {rate_of(answer.high)}" if answer.high is not None else f"{low} or more"


def in_words(answer: Answer) -> str:
    """What was found, in a few sentences."""
    why = f" What gives way first: {answer.cause.text}." if answer.cause is not None else ""
    if answer.answers_only:
        why += " That is of the answers alone: the server tells nothing of the work behind them, which may pile up unseen."
    if answer.found is None:
        unclear = f" It cannot be told which one does: {answer.why}." if answer.why else ""
        return f"No rate was found that holds.{unclear}{why}"
    found = rate_of(answer.found)
    held = f"{found} held a longer stage." if answer.confirmed else f"{found} held; no longer stage confirmed it."
    if answer.state == "at least":
        end = f"; {answer.why}" if answer.why else ", and more could not be asked of it"
        return f"It holds {found}{end}. {held}{why}"
    low = "nothing" if answer.low is None else rate_of(answer.low)
    between = f"between {low} and {rate_of(answer.high)}" if answer.high is not None else f"at least {low}"
    end = " The search was not finished." if answer.state == "unfinished" else ""
    if answer.why:
        end = f" Whether more than that holds cannot be told: {answer.why}."
    return f"The capacity is {between}; {held}{end}{why}"


def noise_in_words(stages: Sequence[Measured]) -> str:
    """Empty: there was none worth a word."""
    noisy = sum((each.noisy_share or 0.0) >= NOISY_SHARE for each in stages)
    if not noisy:
        return ""
    which = "All of it was" if noisy == len(stages) else f"{noisy} of {len(stages)} stages were"
    return f" {which} measured while other programs had the machine: without them it may hold more."


def stage_in_words(result: Measured, within: float) -> str:
    """One stage in one line, by itself. `within`: so narrow the interval is to be, as a share."""
    early = ", ended early" if result.ended_early else ""
    if result.generator:
        return f"says nothing{early}: {result.generator}"
    if result.purpose == "fault":
        return f"lost {result.lost or 0:,} tasks"
    if not usable_of([result]):
        return f"says nothing{early}: {untold(result)}"
    growth = result.growth
    said = [f"{each.text} is broken" for each in result.limits if each.holds is False]
    if result.died:
        said.insert(0, f"the server died: {result.died}")
    elif growth is not None and grown(growth).grows:
        said.insert(0, f"the backlog grows by {per_second(growth.per_s)} ({growth.low:.1f} to {growth.high:.1f})")
    elif growth is not None and not said and standing([result], within) is Standing.SEEMS_BROKEN:
        change = f"{per_second(growth.per_s)} ({growth.low:.1f} to {growth.high:.1f})"
        said.append(f"seems not to hold: the backlog grows by {change}, which may be chance")
    if not said:
        return f"holds{early}"
    return "; ".join(said) + early + (f"; {result.cause.text}" if result.cause else "")
