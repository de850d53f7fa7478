"""What the effects of a comparison come to: which are differences, which are none, and of which it cannot be told. Pure
functions.

Three answers, for "not different" is two of them (Altman & Bland, Absence of evidence is not evidence of absence, 1995):

- different: chance alone would make such a difference in less than 5 % of comparisons, counting all figures and configurations
  together (Holm), and it is larger than what does not matter;
- equal: the whole interval lies within what matters, to either side (an equivalence test: Schuirmann 1987, with 95 % intervals
  instead of the 90 % that would do);
- unclear: neither; with how many blocks would tell, if the difference is as large as it looks, or just matters if it looks
smaller.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from harness.compare.effects import CONFIDENCE, Effect, blocks_needed, holm
from harness.compare.quantities import QUANTITIES, Quantity

__all__ = ["LEVEL", "Contrast", "Decision", "Direction", "contrasts_of", "of_configuration", "of_one_run_each"]

LEVEL: Final = 1 - CONFIDENCE
_ROOM: Final = 1e-9

Decision = Literal["different", "equal", "unclear", "seen", "none"]
Direction = Literal["better", "worse", ""]


@dataclass(frozen=True, slots=True)
class Contrast:
    """One figure of one configuration against the baseline."""

    configuration: int
    quantity: str  # its id
    effect: Effect
    p: float  # corrected for all figures and configurations together; NaN: not tested
    decision: Decision  # "seen": of one run each, so chance is not ruled out; "none": one of the two has no such figure
    direction: Direction  # of a difference
    matters: float  # the smallest difference that matters: a share of the baseline (0.05), or a number if there were zeros
    needed: int | None  # blocks that would tell, if it is unclear; None: more than a thousand, or not known


def contrasts_of(effects: Mapping[tuple[int, str], Effect], min_effect: float) -> list[Contrast]:
    """Decides on every effect, given by configuration and id of the quantity; all of them are one family.

    `min_effect`: the smallest share of the baseline that matters, e.g., 0.05.
    """
    keys = list(effects)
    tested = np.array([_p_of(effects[key]) for key in keys])
    corrected = holm(tested) if len(keys) else tested
    n_tests = int(np.count_nonzero(~np.isnan(tested)))
    return [
        _decided(key, effects[key], float(p), QUANTITIES[key[1]], min_effect, LEVEL / max(n_tests, 1))
        for key, p in zip(keys, corrected, strict=True)
    ]


def _p_of(effect: Effect) -> float:
    # Values that are the same in each pair could not have come out different by chance, so they are no test.
    return math.nan if effect.is_tied or effect.scale == "none" else effect.p


def _decided(key: tuple[int, str], effect: Effect, p: float, quantity: Quantity, min_effect: float, level: float) -> Contrast:
    matters = _matters(effect, quantity, min_effect)
    # On the scale on which effects add up.
    is_ratio = effect.scale == "ratio"
    to = _log if is_ratio else float
    limit = math.log1p(matters) if is_ratio else matters
    down = _limit_down(effect, quantity, limit)
    decision: Decision = "unclear"
    if effect.scale == "none":
        decision = "none"
    elif effect.scale == "never":
        decision = "equal" if effect.is_tied else "different" if p < LEVEL else "unclear"
    elif effect.is_tied or (not math.isnan(effect.low) and down < to(effect.low) and to(effect.high) < limit):
        decision = "equal"
    elif p < LEVEL and abs(to(effect.estimate)) > limit + _ROOM and _is_worth_telling(effect, quantity):
        decision = "different"
    needed = None
    if decision == "unclear" and effect.scale != "never":
        # As large as it looks, or as it would have to be to matter.
        looks = to(effect.estimate)
        size = max(abs(looks), limit)
        if not _is_worth_telling(effect, quantity):
            # Then it can only turn out equal: the interval has to leave the limit out. None: it lies on it.
            size = limit - looks if looks > 0 else looks - down
        needed = blocks_needed(effect.spread, size, level)
        needed = None if needed is None else max(needed, effect.n + 2)
    return Contrast(
        configuration=key[0],
        quantity=key[1],
        effect=effect,
        p=p,
        decision=decision,
        direction=_direction(effect, quantity) if decision == "different" else "",
        matters=matters,
        needed=needed,
    )


def _matters(effect: Effect, quantity: Quantity, min_effect: float) -> float:
    """As a share of the baseline where the effect is a ratio, in the figure's unit where it is a difference."""
    if effect.scale == "ratio":
        return max(min_effect, quantity.least / effect.base)
    largest = max(abs(effect.base), abs(effect.other)) if effect.scale == "difference" else 0.0
    return max(min_effect * largest, quantity.least)


def _limit_down(effect: Effect, quantity: Quantity, limit: float) -> float:
    """What a decrease must not reach to be none, as `limit` is for an increase, on the scale on which effects add up."""
    if effect.scale == "ratio" and quantity.least:
        return min(-limit, _log(1 - quantity.least / effect.base))
    return -limit


def _is_worth_telling(effect: Effect, quantity: Quantity) -> bool:
    """Whatever its share, to either side: 3 instead of 2 is as far apart as 2 instead of 3."""
    return not abs(effect.apart) <= quantity.least + _ROOM


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _direction(effect: Effect, quantity: Quantity) -> Direction:
    if effect.scale == "never":
        # Of how often it never ended, whatever the figure; as shares, for there may be more runs of one than of the other.
        return "worse" if effect.never_other * effect.n_base > effect.never_base * effect.n_other else "better"
    is_more = effect.estimate > (1.0 if effect.scale == "ratio" else 0.0)
    return "better" if is_more == (quantity.better == "higher") else "worse"


def of_one_run_each(contrast: Contrast) -> Contrast:
    """What can be said if there is no second run of either: how they differ, and never that it is no chance."""
    effect, direction = contrast.effect, _direction(contrast.effect, QUANTITIES[contrast.quantity])
    decision = contrast.decision
    if effect.scale == "never" and not effect.is_tied:
        decision = "seen"
    elif effect.scale in {"ratio", "difference"} and decision != "equal":
        to = _log if effect.scale == "ratio" else float
        limit = math.log1p(contrast.matters) if effect.scale == "ratio" else contrast.matters
        is_apart = math.isnan(effect.low) or (to(effect.low) > 0) == (to(effect.high) > 0)
        is_large = abs(to(effect.estimate)) >= limit and _is_worth_telling(effect, QUANTITIES[contrast.quantity])
        decision = "seen" if is_large and is_apart else "unclear"
    return dataclasses.replace(contrast, decision=decision, direction=direction if decision == "seen" else "", needed=None)


def of_configuration(contrasts: Sequence[Contrast], configuration: int) -> list[Contrast]:
    """Those of one configuration, in the order of the tables."""
    order = {name: place for place, name in enumerate(QUANTITIES)}
    return sorted((each for each in contrasts if each.configuration == configuration), key=lambda each: order[each.quantity])
