"""The search for the highest rate that holds: ask which stage is next, tell what it came to. Pure: no clock, no files.

Rates go up, or down, until one holds and one does not; then the gap is halved, geometrically, until it is as narrow as was asked
for, and the rate that is left is confirmed by a longer stage. What the stages have shown that the server can do makes the first
guesses, and never an answer: each stage runs on a fresh server, so one that stays bad once it was overloaded is judged at
each rate by what it does from its start at that rate. A stage that might be either is repeated while it matters, and all stages
at a rate are judged together. The answer is an interval: what is shown to hold, and what is shown not to; chance lies between.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import Final, Literal

from harness.capacity.schema import Answer, Cause, Measured, State
from harness.capacity.standing import (
    Standing,
    grown,
    growth_at,
    limits_standing,
    standing,
    surely_broken,
    unclear,
    untold,
    usable_of,
)
from harness.growth import WIDTH

__all__ = ["Asked", "Options", "Purpose", "Search", "nice"]

Purpose = Literal["bracket", "bisect", "repeat", "confirm", "above", "fault"]

LEAST_PER_S: Final = 0.05
LEAST_REQUESTS: Final = 300
"""In a stage, with a task each: of fewer, neither a slope nor a percentile says much."""

NARROW: Final = 1.4
"""Between rates that are further apart, which of them holds is plain enough: nothing is repeated."""

_UP: Final = 2.0
_BEYOND: Final = 1.1
_MOST_UP: Final = 5.0
_MOST_CONFIRMED: Final = 4
_SPREADS: Final = 1.5
_TRIES: Final = 2
_SETTLED: Final = 1.2
"""Times as long as the load took to settle, it is given to settle: the next time it may take a little longer."""

_LONG_ENOUGH: Final = 2.0
"""Times the time it is given to settle, a stage lasts at least. More than a third has to be left (`growth_seen`), and tasks of
equal length end in waves: for one such length after the first has ended, as many end as came in, however many wait."""

_SETTLING_TRIES: Final = 3
_MOST_ABOVE: Final = 8
_FURTHER: Final = 1.5
_JUST_ABOVE: Final = 1.15


@dataclass(frozen=True, slots=True)
class Options:
    """How to search. Rates per second."""

    start: float
    within: float = 0.05  # the interval is to be so narrow
    stage_s: float = 8.0
    confirm_s: float = 24.0
    repeats: int = 2  # stages at one rate, at most
    stretch: float = 3.0  # a stage may be so many times as long, where chance makes it say little
    most: float = math.inf  # more cannot be sent
    stages: int = 40  # in all, at most


@dataclass(frozen=True, slots=True)
class Asked:
    """The next stage."""

    rate: float
    seconds: float
    purpose: Purpose


@dataclass
class Search:
    """The state of one search: its options, and what it was told."""

    options: Options
    told: list[Measured] = field(default_factory=list)

    def tell(self, result: Measured) -> None:
        """What the stage that was asked for came to."""
        self.told.append(result)

    def next(self) -> Asked | None:
        """The next stage; None: the search is over."""
        options = self.options
        if len(self.told) >= options.stages:
            return None
        if not self.told:
            return self._stage(options.start, "bracket")
        if self.told[-1].generator and self._n_failed(self.told[-1].rate) < _TRIES:
            return self._again(self.told[-1])
        if self._is_unsettled(self.told[-1]) and self._n_unsettled(self.told[-1].rate) < _SETTLING_TRIES:
            # Longer, for now it is known how long the load takes to settle.
            return self._again(self.told[-1])
        low, high = self._low(), self._high()
        if self._never_settles() is not None:
            # What holds below it is still to be confirmed.
            return None if low is None else self._confirm(low)
        if low is None and high is None:
            # Not even the first one could be sent.
            return None if self.told[-1].rate / _UP < LEAST_PER_S else self._stage(self.told[-1].rate / _UP, "bracket")
        if low is None:
            return self._down(high)
        if high is None:
            return self._up(low)
        if self._is_narrow(low, high):
            return self._settle(low, high)
        return self._between(low, high)

    def seconds_left(self, asked: Asked, overhead_s: float) -> float:
        """About how long the search still takes, with the stage that was asked for. `overhead_s`: of each, beside its load."""
        low, high = self._low(), self._high()
        near = high or low or asked.rate
        ordinary_s = self._seconds(near) + overhead_s
        confirm_s = self._stage(near, "confirm").seconds + overhead_s
        # Where chance makes stages long, it also makes some of them be repeated, and some rates fail that were taken to hold.
        is_noisy = self._seconds(near) > 1.1 * max(self.options.stage_s, LEAST_REQUESTS * self._unit() / near)
        left_s = asked.seconds + overhead_s
        if asked.purpose in {"bracket", "bisect"}:
            left_s += confirm_s + ordinary_s + self._n_between(low, high) * ordinary_s * (1.5 if is_noisy else 1.0)
        elif asked.purpose == "confirm":
            left_s += ordinary_s
        elif asked.purpose == "repeat" and low is not None and not self._is_confirmed(low):
            left_s += confirm_s + ordinary_s
        return left_s + (0.7 * confirm_s if is_noisy and asked.purpose != "above" else 0.0)

    def _n_between(self, low: float | None, high: float | None) -> int:
        """Stages until the gap is narrow, after the one that comes next."""
        if low is None or high is None:
            return 3
        gap = math.log(high / low) / math.log(1 + self.options.within)
        n = math.ceil(math.log2(max(gap, 1.0)))
        # A good guess leaves two.
        return max(min(n, 2) if self._could(above=low, below=high) else n, 1) - 1

    def answer(self) -> Answer:
        """What is known by now."""
        low, high = self._low(), self._high()
        confirmed = low is not None and self._is_confirmed(low)
        state: State
        if low is None:
            state = "none" if high is not None and not self._can_go_down(high) else "unfinished"
        elif high is None:
            state = "at least" if self._at_the_top(low) else "unfinished"
        else:
            state = "found" if confirmed and self._is_narrow(low, high) else "unfinished"
        spread = self.spread()
        shown_low, shown_high = self._shown_low(low), self._shown_high(low)
        last = self._never_settles()
        is_over = last is not None and (low is None or (state == "unfinished" and self.next() is None))
        why = "" if low is None else unclear(self._by_rate()[low])
        if low is not None and why:
            # What was not seen has not been held.
            why = f"at {low:g}/s, where nothing was seen to give way, {why}"
            state = "unclear" if state in {"found", "at least"} else state
            low, shown_low, confirmed = None, None, False
        if state == "found" and shown_high is None:
            # A capacity has two ends.
            if len(self.told) >= self.options.stages or self.next() is not None:
                state = "unfinished"
            elif max(self._by_rate()) >= self._most or self._unsendable() is not None:
                top = f"{max(self._standings()):g}/s"
                state, why = "at least", f"above it some rates seem not to hold, and more than {top} could not be asked of it"
            else:
                state, why = "unclear", "some rates seem not to hold, and none is shown not to; longer stages tell more"
        if last is not None and is_over:
            # The reason at a lower rate, if there is one, comes first.
            state, why = "unclear", why or f"at {last.rate:g}/s, {untold(last)}"
        return Answer(
            state=state,
            low=None if shown_low is None else max(shown_low * (1 - _SPREADS * spread), 0.0),
            found=low,
            confirmed=confirmed,
            high=None if shown_high is None else shown_high * (1 + _SPREADS * spread),
            spread=spread,
            cause=self._cause(low),
            why=why,
            answers_only=any(each.answers_only for each in self.told),
        )

    def spread(self) -> float:
        """How much the server's best differs from stage to stage, beyond what chance within a stage explains: a share of it.

        Of stages just above what holds: further up, it may get worse by being overloaded, which is no chance.
        """
        near = (self._low() or 0.0) * _JUST_ABOVE
        full = [
            (math.log(each.could_per_s), (each.growth.high - each.growth.low) / 2 / WIDTH / each.rate)
            for each in self.told
            if each.could_per_s and each.growth is not None and each.rate <= near and grown(each.growth).grows
        ]
        if len(full) < 2:
            return 0.0
        logs, errors = zip(*full, strict=True)
        between = statistics.variance(logs) - statistics.fmean(error**2 for error in errors)
        return math.sqrt(max(between, 0.0))

    def _shown_low(self, low: float | None) -> float | None:
        """The most that is shown to be kept up with: a rate that holds, less by what the backlog may have grown unseen."""
        if low is None:
            return None
        best = 0.0
        for rate, results in self._by_rate().items():
            usable = [each for each in usable_of(results) if not each.died]
            growth = growth_at(usable)
            # A limit that has too few values for certainty counts as it was measured: it held in most of these stages.
            is_held = limits_standing(usable) >= Standing.SEEMS_TO_HOLD and not unclear(usable)
            if rate <= low and growth is not None and is_held:
                best = max(best, rate - max(growth.surely.high, 0.0))
        return best or None

    def _shown_high(self, low: float | None) -> float | None:
        """The lowest rate that is shown not to hold, above all at which any stage held."""
        held = max((each.rate for each in self.told if standing([each], self.options.within) is Standing.HOLDS), default=0.0)
        above = max(held, low or 0.0)
        found = [rate for rate, results in self._by_rate().items() if rate > above and surely_broken(results)]
        return min(found, default=None)

    def _cause(self, low: float | None) -> Cause | None:
        """Of the lowest rate above what holds at which something gave way."""
        found = [each for each in self.told if each.cause is not None and (low is None or each.rate > low)]
        first = min(found, key=lambda each: each.rate, default=None)
        return None if first is None else first.cause

    def _by_rate(self) -> dict[float, list[Measured]]:
        found: dict[float, list[Measured]] = {}
        for each in self.told:
            found.setdefault(each.rate, []).append(each)
        return found

    def _standings(self) -> dict[float, Standing]:
        found = {rate: standing(results, self.options.within) for rate, results in self._by_rate().items()}
        return {rate: each for rate, each in found.items() if each is not None}

    def _low(self) -> float | None:
        """The highest rate that holds or seems to, below the lowest that does not."""
        standings = self._standings()
        high = self._high()
        good = [rate for rate, each in standings.items() if each >= Standing.SEEMS_TO_HOLD and (high is None or rate < high)]
        return max(good, default=None)

    def _high(self) -> float | None:
        """The lowest rate that does not hold or seems not to, above what is shown to hold."""
        standings = self._standings()
        shown = max((rate for rate, each in standings.items() if each is Standing.HOLDS), default=0.0)
        bad = [rate for rate, each in standings.items() if each <= Standing.SEEMS_BROKEN]
        good = max((rate for rate, each in standings.items() if each >= Standing.SEEMS_TO_HOLD), default=0.0)
        # What may be chance is no end where a rate well above it does hold, or seems to: the search would stay below for good.
        ends = [rate for rate in bad if standings[rate] is Standing.BROKEN or good <= rate * _JUST_ABOVE]
        above = min((rate for rate in ends if rate > shown), default=None)
        # Shown not to hold, twice, below a rate that is shown to: whatever that is, what is safe lies below.
        again = [rate for rate in bad if standings[rate] is Standing.BROKEN and len(self._by_rate()[rate]) > 1]
        return min([*again, *([] if above is None else [above])], default=None)

    def _down(self, high: float | None) -> Asked | None:
        assert high is not None
        # Below what could not be sent either, or the same rate would be asked for again and again.
        high = min(high, self._unsendable() or high)
        if not self._can_go_down(high):
            return None
        could = self._could(above=0.0, below=high)
        rate = min(max(could * (1 - self.options.within / 2), high / _MOST_UP), high / 1.15) if could else high / _UP
        return self._stage(rate, "bracket")

    def _up(self, low: float) -> Asked | None:
        if self._at_the_top(low):
            return None if self._is_confirmed(low) else self._stage(low, "confirm")
        if (unsendable := self._unsendable()) is not None:
            return self._stage(math.sqrt(low * unsendable), "bisect")
        could = self._could(above=low, below=math.inf)
        rate = min(max(could * _BEYOND, low * 1.25), low * _MOST_UP) if could else low * _UP
        return self._stage(rate, "bracket")

    def _is_narrow(self, low: float, high: float) -> bool:
        """As narrow as was asked for, or as can be: what lies between cannot be sent, or has the same three digits."""
        within, free = self.options.within, self._untried_to(low, high)
        enough = low * (1 + (within if free == high else 2 * within))
        return free <= enough * (1 + 1e-9) or nice(math.sqrt(low * free)) in self._by_rate()

    def _untried_to(self, low: float, high: float) -> float:
        """The end of the gap, or the lowest rate that was tried in it and came to nothing."""
        return min((rate for rate in self._by_rate() if low < rate < high), default=high)

    def _between(self, low: float, high: float) -> Asked:
        within = self.options.within
        if (doubtful := self._doubtful(low, high)) is not None:
            return self._stage(doubtful, "repeat")
        could = self._could(above=low, below=high)
        if could:
            for rate in (nice(could * (1 - within / 2)), nice(could * (1 + within / 2))):
                if low * (1 + within / 3) < rate < high / (1 + within / 3) and rate not in self._by_rate():
                    return self._stage(rate, "bisect")
        return self._stage(math.sqrt(low * self._untried_to(low, high)), "bisect")

    def _settle(self, low: float, high: float) -> Asked | None:
        """The gap is narrow enough: is it true on either side?"""
        if (doubtful := self._doubtful(low, high)) is not None:
            return self._stage(doubtful, "repeat")
        if (asked := self._confirm(low)) is not None:
            return asked
        # One server that had a bad moment is no limit: another one has to fail there too.
        if len(self._by_rate()[high]) < 2:
            return self._stage(high, "repeat")
        return self._above(low, high)

    def _confirm(self, low: float) -> Asked | None:
        """A longer stage, unless there was one, or too many of them came to nothing."""
        n_confirmed = sum(each.purpose == "confirm" for each in self.told)
        return None if self._is_confirmed(low) or n_confirmed >= _MOST_CONFIRMED else self._stage(low, "confirm")

    def _above(self, low: float, high: float) -> Asked | None:
        """Where that was not so, or not for sure, and what is shown not to hold is far above: a stage between."""
        if self._is_unsettled(self.told[-1]):
            # It is no better further up.
            return None
        shown, within = self._shown_high(low), self.options.within
        narrow = high * (1 + within) ** 2
        n_above = sum(each.purpose == "above" for each in self.told)
        if high >= self._most or n_above >= _MOST_ABOVE or (shown is not None and shown <= narrow):
            return None
        if shown is None:
            # In growing steps: an answer without an upper end would say nothing of where it ends.
            cannot = self._unsendable() or math.inf
            step = min((1 + within) ** (2 * (n_above + 1)), _FURTHER)
            highest = max(each for each in self._by_rate() if each < cannot)
            rate = highest * step
            if nice(rate) >= cannot:
                # What lies between has not been tried, and may be sent.
                rate = math.sqrt(highest * cannot)
            asked = self._stage(rate, "above")
            return asked if asked.rate < cannot and asked.rate not in self._by_rate() else None
        rate = math.sqrt(high * shown)
        tried = [each for each in self._by_rate() if high < each and nice(rate) / narrow * high < each <= nice(rate)]
        return None if tried else self._stage(rate, "above")

    def _doubtful(self, low: float, high: float) -> float | None:
        """One of the two whose standing may be chance, if one more stage may tell."""
        if high > low * NARROW:
            return None
        standings = self._standings()
        for rate, seems in ((high, Standing.SEEMS_BROKEN), (low, Standing.SEEMS_TO_HOLD)):
            n = sum(each.rate == rate for each in self.told)
            if standings.get(rate) is seems and n < self.options.repeats and not (rate == low and self._is_confirmed(low)):
                return rate
        return None

    def _could(self, *, above: float, below: float) -> float | None:
        """What the stages let expect, if that lies between."""
        found = [each for each in self.told if each.could_per_s and above < each.could_per_s < below]
        # What got done while work waited is closer to the truth than any prediction.
        best = max(found, key=lambda each: (each.growth is not None and each.growth.low > 0, -each.rate), default=None)
        return None if best is None else best.could_per_s

    def _is_confirmed(self, low: float) -> bool:
        """By a longer stage that says something, and by what that one shows itself."""
        longer = [each for each in self.told if each.rate == low and each.purpose == "confirm"]
        found = [standing([each], self.options.within) for each in longer]
        return any(each is not None and each >= Standing.SEEMS_TO_HOLD for each in found)

    def _again(self, result: Measured) -> Asked:
        return self._stage(result.rate, "confirm" if result.purpose == "confirm" else "repeat")

    @staticmethod
    def _is_unsettled(result: Measured) -> bool:
        """It says nothing, and not for want of requests."""
        return not result.generator and not usable_of([result])

    def _n_unsettled(self, rate: float) -> int:
        return sum(each.rate == rate and self._is_unsettled(each) for each in self.told)

    def _never_settles(self) -> Measured | None:
        """The last stage at the lowest rate of which nothing is known, below all that are too high."""
        known, high = self._standings(), self._high() or math.inf
        empty = [each for each in self.told if each.rate < high and each.rate not in known]
        found = [each for each in empty if self._n_unsettled(each.rate) >= _SETTLING_TRIES]
        return min(reversed(found), key=lambda each: each.rate, default=None)

    def knows_settling(self, rate: float) -> bool:
        """Whether a stage at about this rate, or below it, has told: before that, what fills up looks like what grows."""
        return any(each.growth is not None and not each.generator and each.rate < rate * NARROW for each in self.told)

    def settling_s(self, rate: float) -> float:
        """How long after the warm-up the load takes to settle, by what was seen at lower rates, or else at any."""
        known = [each for place, each in enumerate(self.told) if not each.generator and not self._is_outdone(place)]
        below = [each.settling_s for each in known if each.rate < rate * NARROW]
        return max(below) if below else min((each.settling_s for each in known), default=0.0)

    def _is_outdone(self, place: int) -> bool:
        """Of tasks that never ended it is known how long they were watched; a later stage there told how long they take."""
        of = self.told[place]
        return of.may_hang and any(each.growth is not None and each.rate == of.rate for each in self.told[place + 1 :])

    def _needed_s(self, rate: float) -> float:
        """How long the first stage about this rate was that told what a shorter one could not; 0: there was none."""
        return next(
            (
                later.seconds
                for place, each in enumerate(self.told)
                if each.may_hang and rate / NARROW < each.rate < rate * NARROW
                for later in self.told[place + 1 :]
                if later.rate == each.rate and later.growth is not None
            ),
            0.0,
        )

    def _n_failed(self, rate: float) -> int:
        return sum(each.rate == rate and bool(each.generator) for each in self.told)

    def _unsendable(self) -> float | None:
        """The lowest rate that the generator could not send, however often it tried."""
        standings = self._standings()
        return min((each.rate for each in self.told if each.generator and each.rate not in standings), default=None)

    def _at_the_top(self, low: float) -> bool:
        unsendable = self._unsendable()
        return low >= self._most or (unsendable is not None and unsendable <= low * (1 + 2 * self.options.within))

    @property
    def _most(self) -> float:
        """As rates are asked for, in three digits; not more than may be asked for."""
        most = self.options.most
        if math.isinf(most) or nice(most) <= most:
            return nice(most)
        return nice(most - 10 ** (math.floor(math.log10(most)) - 2))

    def _can_go_down(self, high: float) -> bool:
        return high / _UP >= LEAST_PER_S

    def _stage(self, rate: float, purpose: Purpose) -> Asked:
        rate = min(nice(rate), self._most)
        seconds = self._seconds(rate)
        if purpose == "confirm":
            seconds = max(self.options.confirm_s, 1.5 * seconds)
        settle_s = _SETTLED * self.settling_s(rate)
        seconds = max(seconds + settle_s, _LONG_ENOUGH * settle_s, self._needed_s(rate))
        return Asked(rate, float(f"{seconds:.2g}"), purpose)

    def _seconds(self, rate: float) -> float:
        """Longer than asked for where little comes in, and where chance is so large that a stage of that length says little."""
        options = self.options
        near = [each for each in self.told if each.growth is not None and rate / NARROW < each.rate < rate * NARROW]
        times = max(LEAST_REQUESTS * self._unit() / rate / options.stage_s, 1.0)
        for each in near:
            assert each.growth is not None
            half = (each.growth.high - each.growth.low) / 2 / each.rate
            times = max(times, each.seconds / options.stage_s * (half / options.within) ** 2)
        return options.stage_s * min(times, options.stretch)

    def _unit(self) -> float:
        """Requests for each task, where not each of them leaves one."""
        return max((each.growth.unit for each in self.told if each.growth is not None), default=1.0)


def nice(rate: float) -> float:
    """Three digits: more than that nobody asks for."""
    return float(f"{rate:.3g}")
