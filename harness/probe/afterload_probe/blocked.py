"""Calls that held an event loop: for how long, and whose they were. Said once in a while, and the worst of each function."""

from __future__ import annotations

from collections import Counter
from time import monotonic_ns

from .frames import Place
from .notes import Notes

__all__ = ["Blocked"]

_AGAIN_NS = 5_000_000_000
_LONG_NS = 1_000_000_000
_MOST_FUNCTIONS = 64

_Sight = tuple[Place, Place]


class _Episode:
    """A loop that does not beat, from the first sample of it to the last."""

    def __init__(self, *, starting: bool) -> None:
        self.starting = starting
        self.counts: Counter[tuple[str, str]] = Counter()
        self.sights: dict[tuple[str, str], _Sight] = {}
        self.say_at_ns = _LONG_NS


class Blocked:
    """Collects samples of blocked loops and writes notes."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._episodes: dict[int, _Episode] = {}
        self._worst: dict[tuple[str, str], tuple[int, _Sight, int]] = {}  # how long, and when it began
        self._said: dict[tuple[str, str], tuple[int, int]] = {}  # the longest said so far, and when

    def seen(self, thread: int, sight: _Sight | None, late_ns: int, *, starting: bool) -> None:
        """The loop of `thread` is late by `late_ns`, and this is what it is busy with. `starting`: no request has come in yet."""
        episode = self._episodes.setdefault(thread, _Episode(starting=starting))
        # What a process does before its first request keeps nobody waiting: other workers answer, or nobody is asked.
        if sight is not None and not episode.starting:
            episode.counts[sight[0].key] += 1
            episode.sights[sight[0].key] = sight
            if late_ns >= episode.say_at_ns:
                # It may be killed in the middle of it: then this is what there is.
                episode.say_at_ns = 2 * late_ns
                self._say(sight, late_ns, monotonic_ns() - late_ns, ongoing=True)

    def ended(self, thread: int, blocked_ns: int) -> None:
        """It beats again, after `blocked_ns`."""
        episode = self._episodes.pop(thread, None)
        if episode is None or not episode.counts or blocked_ns <= 0:
            return
        key = episode.counts.most_common(1)[0][0]
        sight = episode.sights[key]
        began_ns = monotonic_ns() - blocked_ns
        worst = self._worst.get(key, (0, sight, 0))[0]
        if blocked_ns > worst and (key in self._worst or len(self._worst) < _MOST_FUNCTIONS):
            self._worst[key] = blocked_ns, sight, began_ns
        said_ns, when_ns = self._said.get(key, (0, 0))
        if not said_ns or 4 * blocked_ns > 5 * said_ns or monotonic_ns() - when_ns > _AGAIN_NS:
            self._say(sight, blocked_ns, began_ns, ongoing=False)

    def say_the_worst(self) -> None:
        """Notes the longest of each function, where a shorter one was the last said."""
        for key, (blocked_ns, sight, began_ns) in list(self._worst.items()):
            if blocked_ns > self._said.get(key, (0, 0))[0]:
                self._say(sight, blocked_ns, began_ns, ongoing=False)

    def _say(self, sight: _Sight, blocked_ns: int, began_ns: int, *, ongoing: bool) -> None:
        place, inner = sight
        said_ns = self._said.get(place.key, (0, 0))[0]
        if not ongoing:
            self._said[place.key] = max(said_ns, blocked_ns), monotonic_ns()
        inside = "" if inner.key == place.key else f"{inner.function} ({inner.file}:{inner.line})"
        within = f", inside {inside}" if inside else ""
        so_far = " so far" if ongoing else ""
        self._notes.write(
            "blocked",
            f"{place.function} ({place.file}:{place.line}) held the event loop for {blocked_ns / 1e6:,.0f} ms{so_far}{within}",
            began_ns=began_ns,
            ms=round(blocked_ns / 1e6, 1),
            function=place.function,
            file=place.file,
            line=place.line,
            inside=inside,
            ongoing=ongoing,
        )
