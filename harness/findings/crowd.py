"""Findings about what else the machine did while the run was measured. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.findings.facts import Facts
from harness.findings.finding import FoundOut
from harness.noise import noise_of
from harness.wording import duration_s, share

__all__ = ["of_the_machine"]


_THROTTLED_SHARE: Final = 0.05
"""Of the periods of a quota: from here on the slowest twentieth of all times may be its doing."""


def of_the_machine(facts: Facts) -> Iterator[FoundOut]:
    """If times of the whole run were measured in noise, or under a quota that stopped it."""
    yield from _of_noise(facts)
    yield from _of_quota(facts)


def _of_quota(facts: Facts) -> Iterator[FoundOut]:
    found = facts.evidence.throttling
    if found is None or found.share < _THROTTLED_SHARE:
        return
    cores = facts.environment.get("cpu_quota")
    allowed = f" ({cores:g} cores)" if isinstance(cores, (int, float)) else ""
    period_ms = found.period_ns / 1e6
    yield FoundOut(
        "cpu-throttled",
        "warning",
        f"While load was sent, server, load and world had used the quota of their control group{allowed} in {share(found.share)}"
        f" of its periods of {period_ms:g} ms, and were stopped for the rest of each: times are up to {period_ms:g} ms longer by"
        " that, again and again.",
        {"times": found.times, "share": found.share, "period_ms": period_ms, "over_s": found.over_ns / 1e9, "cpu_quota": cores},
        "Raise the quota (docker run --cpus, resources.limits.cpu) or send less, if the server is to have more in production;"
        " else these are the figures of that quota, shared with what measures.",
    )


def _of_noise(facts: Facts) -> Iterator[FoundOut]:
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
