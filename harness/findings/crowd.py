"""Findings about what else the machine did while the run was measured. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from harness.findings.facts import Facts
from harness.findings.finding import FoundOut
from harness.noise import noise_of
from harness.wording import duration_s

__all__ = ["of_the_machine"]


def of_the_machine(facts: Facts) -> Iterator[FoundOut]:
    """One finding if times of the whole run were measured in noise."""
    noise = noise_of(facts.evidence)
    if not noise.is_noisy:
        return
    yield FoundOut(
        "noisy-machine",
        "warning",
        f"For {duration_s(noise.noisy_s)} of {duration_s(noise.seen_s)} {noise.words()}, and somebody had to wait: times"
        " may be longer than the server's own, and none is shorter.",
        {
            "noisy_s": noise.noisy_s,
            "seen_s": noise.seen_s,
            "other_cpu_share": noise.other_share,
            "steal_share": noise.steal_share,
            "stalled_share": noise.stalled_share,
        },
        "Run it where nothing else does. A limit that breaks in noise is INCONCLUSIVE unless it is broken without it too.",
    )
