"""A run told in sentences, each when something has changed: for screen readers, logs and pipes. Frames in, lines out."""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

from harness.live.frame import Frame, Mark, Phase
from harness.wording import duration_ms, duration_s

__all__ = ["Story"]

_STANDING_EVERY_S: Final = 10.0
"""Something is said at least this often, so that silence means that nothing can be said."""

# That load begins and ends, and that all is being stopped, is told by the marks.
_PHASES: Final = {
    Phase.START: "the run begins: server and world are started",
    Phase.JUDGE: "nothing moves any more; the run is judged",
    Phase.ENDED: "the run is over",
    Phase.CRASHED: "the run has crashed: nobody holds its directory, and there is no summary",
}


class Story:
    """Remembers what was told."""

    def __init__(self) -> None:
        self._phase: Phase | None = None
        self._marks: Counter[int] = Counter()  # how many were told of each event
        self._sides: dict[str, str] = {}
        self._findings: set[str] = set()
        self._told_at_s = 0.0
        self._at_s = -math.inf  # of the last frame

    def of(self, frame: Frame) -> list[str]:
        """What this frame says that the last one did not; each line begins with its instant."""
        told: list[tuple[float, str]] = []

        def tell(sentence: str, at_s: float = frame.at_s) -> None:
            told.append((at_s, sentence))

        if self._phase is None:
            tell(_beginning(frame), min([frame.at_s, *(mark.at_s for mark in frame.marks)]))
        for mark in self._new_marks(frame):
            if 0 <= mark.at_s < self._at_s and mark.known_s is not None:
                # It was not known until now: what came after it has been told already. (Before the load begins all is at 0 s.)
                tell(f"{mark.text} (at {mark.at_s:.1f} s)", mark.from_s)
            else:
                tell(mark.text, mark.at_s)
        if frame.phase is not self._phase:
            self._phase = frame.phase
            if frame.phase in _PHASES:
                tell(_PHASES[frame.phase])
            if frame.problem:
                tell(frame.problem)
        for name, side in (("client sees", frame.client), ("work sees", frame.work)):
            if side.headline and self._sides.get(name) != side.headline:
                self._sides[name] = side.headline
                tell(f"{name} {side.headline}: {side.why}")
        for finding in frame.findings:
            if finding.id not in self._findings:
                self._findings.add(finding.id)
                tell(f"finding: {finding.text}")
        if not told and frame.phase is Phase.LOAD and frame.at_s - self._told_at_s >= _STANDING_EVERY_S:
            tell(_standing(frame))
        if told:
            self._told_at_s = frame.at_s
        self._at_s = frame.at_s
        in_order = sorted(dict.fromkeys(told), key=lambda each: each[0])
        return [f"{at_s:7.1f} s  {sentence}" for at_s, sentence in in_order]

    def _new_marks(self, frame: Frame) -> list[Mark]:
        """Those of events that have more of them than were told.

        Neither place, instant nor text says which they are: one that is known late stands before others, instants move as the
        load begins, and how many a fault lost changes as effects arrive after it.
        """
        seen: Counter[int] = Counter()
        found = []
        for mark in frame.marks:
            seen[mark.event] += 1
            if seen[mark.event] > self._marks[mark.event]:
                found.append(mark)
        self._marks |= seen
        return found


def _beginning(frame: Frame) -> str:
    about = frame.about
    kind = f" with {about.tasks} tasks" if about.tasks else ""
    pool = f", pool {about.pool}" if about.pool else ""
    return f"{about.title} on {about.engine}{kind}{pool}, {about.load} for {duration_s(about.for_s)}: {about.run_id}"


def _standing(frame: Frame) -> str:
    totals, now = frame.totals, frame.now
    backlog = "the backlog is not seen" if now.backlog is None else f"backlog {now.backlog:,}, running {now.busy or 0:,}"
    return (
        f"answered {totals.acked:,} of {totals.attempted:,}, response p95 {duration_ms(totals.response_p95_ms, none='unknown')}, "
        f"done p95 {duration_ms(totals.done_p95_ms, none='unknown')}, {backlog}"
    )
