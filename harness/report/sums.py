"""The accounting as sums that a reader can add up. Pure: no clock, no files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.headline import rejected_words
from harness.schema import Requests, Summary
from harness.wording import listed

__all__ = ["Part", "Sum", "sums"]


@dataclass(frozen=True, slots=True)
class Part:
    """One line of a sum."""

    path: str  # in the summary
    number: int
    words: str
    sign: str = "+"


@dataclass(frozen=True, slots=True)
class Sum:
    """Parts, and what they come to."""

    title: str
    parts: tuple[Part, ...]
    total: Part
    note: str = ""

    @property
    def adds_up(self) -> bool:
        """The parts come to the total."""
        signed = sum(-part.number if part.sign == "-" else part.number for part in self.parts)
        return signed == self.total.number


_STATES = {
    "finished": "finished",
    "failed": "failed: they raised, or the app cancelled them",
    "skipped": "skipped: an earlier task of the request raised, or the app cancelled them before they started",
    "rejected": "rejected: too many were waiting",
    "discarded": "discarded: the endpoint raised, or its response had another background",
    "interrupted": "interrupted: running when their server died",
    "never_started": "never started: waiting when their server died",
    "awaiting": "awaiting: a server still holds them",
}


def _rejected(requests: Requests) -> str:
    if not requests.unconnected + requests.own_limit:
        return "refused: a complete refusal, or surely never arrived"
    return f"never arrived, or refused: {listed(rejected_words(requests))}"


def sums(summary: Summary) -> Iterator[Sum]:
    """The sums of a run, from requests to effects."""
    requests, tasks = summary.requests, summary.tasks
    yield Sum(
        "Requests",
        (
            Part("requests.acked", requests.acked, "acknowledged: a full 2xx was read"),
            Part("requests.rejected", requests.rejected, _rejected(requests)),
            Part("requests.indeterminate", requests.indeterminate, "without an answer: nobody knows what became of them"),
        ),
        Part("requests.attempted", requests.attempted, "sent"),
        f"{requests.unsent:,} more were due and never sent." if requests.unsent else "",
    )
    if tasks.inline:
        return
    if tasks.accepted or tasks.server_is_witness:
        states = [(name, int(getattr(tasks, name)), words) for name, words in _STATES.items()]
        yield Sum(
            "Tasks",
            tuple(Part(f"tasks.{name}", number, words) for name, number, words in states if number or name == "finished"),
            Part("tasks.accepted", tasks.accepted, "accepted by the server"),
        )
    undone = tasks.interrupted + tasks.never_started + tasks.lost_discarded
    if undone and tasks.world_is_witness and tasks.lost == tasks.lost_low:
        discarded = [
            Part(f"tasks.{name}", number, words)
            for name, number, words in (
                ("lost_discarded", tasks.lost_discarded, "were put aside, although their request was acknowledged"),
            )
            if number
        ]
        yield Sum(
            "Lost",
            (
                Part("tasks.lost_queued", tasks.lost_queued, "were still queued"),
                Part("tasks.lost_running", tasks.lost_running, "were running, and had no effect yet"),
                *discarded,
            ),
            Part("tasks.lost", tasks.lost, "lost"),
            f"{tasks.broken_promises:,} of them were acknowledged: broken promises.",
        )
    if tasks.effects:
        kinds = {
            "effects_finished": "of finished tasks",
            "effects_failed": "of failed tasks",
            "effects_interrupted": "of interrupted tasks: done, though the server never said so",
            "effects_other": "of others",
            "duplicated": "more than once",
        }
        numbers = [(name, int(getattr(tasks, name)), words) for name, words in kinds.items()]
        yield Sum(
            "Effects in the world",
            tuple(
                Part(f"tasks.{name}", number, words) for name, number, words in numbers if number or name == "effects_finished"
            ),
            Part("tasks.effects", tasks.effects, "arrived"),
        )
