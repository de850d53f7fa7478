"""What a comparison came to, in words. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from harness.compare.contrasts import Contrast
from harness.compare.effects import Effect
from harness.compare.quantities import QUANTITIES
from harness.wording import counted, figure, listed

__all__ = ["ONE_RUN_EACH", "THESE_RUNS", "change", "interval", "sentence", "value_of"]

ONE_RUN_EACH: Final = "one run each"
THESE_RUNS: Final = "these runs"
"""Several of each, and no blocks."""

_MOST: Final = 4
"""Figures of a kind that a sentence names."""
_FIRST: Final = ("broken_promises", "done_p95", "p95", "done_p50", "p50", "done_p99", "p99", "backlog", "finished", "achieved")
"""What a sentence names first: what the user came for."""


def sentence(contrasts: Sequence[Contrast], name: str, base: str, shown_by: str) -> str:
    """All figures of one configuration in a sentence or two. `shown_by`: what they rest on, e.g., "8 blocks" or ONE_RUN_EACH, of
    which nothing is known of other runs.
    """
    told = [each for each in contrasts if each.decision != "none"]
    better = _first([each for each in told if each.direction == "better"])
    worse = _first([each for each in told if each.direction == "worse"])
    equal = [each for each in told if each.decision == "equal"]
    unclear = [each for each in told if each.decision == "unclear"]
    parts = []
    if better:
        parts.append(f"better in {_named(better)}")
    if worse:
        parts.append(f"worse in {_named(worse)}")
    if not told:
        return f"{name} could not be compared with {base}: no figure is known of both."
    nothing = f" Nothing can be said of {_titles(unclear)}{_more(unclear, shown_by)}." if unclear else ""
    if shown_by == ONE_RUN_EACH and parts:
        rest = f" Little or no difference was seen in {_titles(equal)}." if equal else ""
        return f"In these runs {name} was {' and '.join(parts)}, against {base}.{rest}{nothing}"
    if not parts:
        if not unclear:
            return f"{name} and {base} are equal in all {counted(len(equal), 'figure')} that were compared."
        same = f"; equal in {_titles(equal)}" if equal else ""
        which = f"{_titles(unclear)}{_more(unclear, shown_by)}"
        return f"{name} against {base}: no difference that {shown_by} can show in {which}{same}."
    text = f"{name} against {base}: {'; '.join(parts)}"
    if equal:
        text += f"; equal in {_titles(equal)}"
    return f"{text}.{nothing}"


def change(effect: Effect) -> str:
    """`×1.10`, `+12`, `0→8 never`, `7/20→6/6 never`; empty: nothing to compare."""
    match effect.scale:
        case "ratio":
            return ratio(effect.estimate)
        case "difference":
            return signed(effect.estimate)
        case "never":
            of_base, of_other = ("", "") if effect.n_base == effect.n_other else (f"/{effect.n_base}", f"/{effect.n_other}")
            return f"{effect.never_base}{of_base}→{effect.never_other}{of_other} never"
    return ""


def interval(effect: Effect) -> str:
    """`1.08 to 1.12`, `0.90 to never`; empty: there is none."""
    if math.isnan(effect.low):
        return ""
    # A record has no number for what never ends.
    is_endless = not math.isfinite(effect.high)
    if effect.scale == "ratio":
        digits = 3 if not is_endless and max(abs(effect.low - 1), abs(effect.high - 1)) < 0.02 else 2
        return f"{_number(effect.low, digits)} to {'never' if is_endless else _number(effect.high, digits)}"
    return f"{signed(effect.low)} to {'never' if is_endless else signed(effect.high)}"


def ratio(value: float) -> str:
    """`×1.10`, `×0.064`, `×13.2`."""
    return f"×{_number(value, 2)}"


def signed(value: float) -> str:
    """`+12`, `-0.4`."""
    return f"{value:+,.0f}" if abs(value) >= 9.5 or value == round(value) else f"{value:+.1f}"


def value_of(value: float | None, quantity: str) -> str:
    """A typical value in its unit; inf: never, NaN or None: none."""
    if value is None or math.isnan(value):
        return "–"
    if QUANTITIES[quantity].unit == "bytes":
        return f"{value / 1e6:.1f} MB"
    if math.isinf(value):
        return "never"
    if QUANTITIES[quantity].unit == "":
        return f"{value:,.0f}" if value >= 9.95 or abs(value - round(value)) < 0.05 else f"{value:.1f}"
    return figure(value, QUANTITIES[quantity].unit)


def _named(contrasts: Sequence[Contrast]) -> str:
    return listed([*(_one(each) for each in contrasts[:_MOST]), *_and_more(contrasts)])


def _one(contrast: Contrast) -> str:
    effect, name = contrast.effect, contrast.quantity
    pair = f"{value_of(effect.other, name)} instead of {value_of(effect.base, name)}"
    if effect.scale == "never" and math.isinf(effect.base) == math.isinf(effect.other):
        of_other = "" if effect.n_base == effect.n_other else f" of {effect.n_other}"
        pair = f"never ended in {effect.never_other}{of_other} instead of {effect.never_base} of {effect.n_base} runs"
    return f"{QUANTITIES[name].title} ({pair})"


def _titles(contrasts: Sequence[Contrast]) -> str:
    return listed([*(QUANTITIES[each.quantity].title for each in _first(contrasts)[:_MOST]), *_and_more(contrasts)])


def _and_more(contrasts: Sequence[Contrast]) -> Iterator[str]:
    if len(contrasts) > _MOST:
        yield f"{len(contrasts) - _MOST} more"


def _more(unclear: Sequence[Contrast], shown_by: str) -> str:
    needed = [each.needed for each in unclear if each.needed is not None]
    if not needed:
        return ""
    least, most = min(needed), max(needed)
    shown = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return f" (about {shown} {'runs of each' if shown_by == THESE_RUNS else 'blocks'} would be needed)"


def _first(contrasts: Sequence[Contrast]) -> list[Contrast]:
    order = {name: place for place, name in enumerate(_FIRST)}
    return sorted(contrasts, key=lambda each: order.get(each.quantity, len(order)))


def _number(value: float, digits: int) -> str:
    if value >= 99.5:
        return f"{value:,.0f}"
    if value >= 9.95:
        return f"{value:.1f}"
    if value < 0.095:
        return f"{value:.2g}"
    return f"{value:.{digits}f}"
