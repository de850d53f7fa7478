"""Simulated comparisons: a queue with threads behind a server, run after run on a machine that is never quite the same.

All runs of all comparisons are simulated at once (Kiefer and Wolfowitz's recursion for a queue with several servers), so hundreds
of comparisons take seconds. What is random: each task's run time, each answer, the machine's speed from block to block and from
run to run, a drift over the comparison, a hiccup in one run of twenty, processor time and memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.compare.contrasts import Contrast, contrasts_of
from harness.compare.designs import order_of
from harness.compare.effects import paired

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Machine:
    """Standard deviations of logarithms. The defaults are wider than what real comparisons showed (docs/compare.md)."""

    of_block: float = 0.05
    of_run: float = 0.03
    drift: float = 0.10  # over the whole comparison
    hiccup: float = 0.05  # of the runs; a hiccup takes a part of one second


STEADY = Machine()


@dataclass(frozen=True)
class Configuration:
    slower: float = 1.0  # run times of tasks
    response: float = 1.0
    threads: int = 8
    rate_per_s: float = 50.0
    lost: float = 200.0  # by the same kill, on average


def simulate(
    configurations: Sequence[Configuration],
    *,
    n_cases: int,
    n_blocks: int,
    seed: int,
    machine: Machine = STEADY,
    load_s: float = 10.0,
) -> dict[str, Values]:
    """The figures, each of shape (n_cases, n_configurations, n_blocks)."""
    rng = np.random.default_rng(seed)
    parts = [
        _runs(rng, configuration, number, len(configurations), n_cases, n_blocks, machine, load_s)
        for number, configuration in enumerate(configurations)
    ]
    return {name: np.stack([part[name] for part in parts], axis=1) for name in parts[0]}


def compared(figures: dict[str, Values], case: int, min_effect: float = 0.05) -> list[Contrast]:
    """One of the comparisons, judged as a real one is."""
    n_configurations = next(iter(figures.values())).shape[1]
    effects = {
        (number, name): paired(values[case, 0], values[case, number], 1.0 if name in {"backlog", "broken_promises"} else 0.0)
        for number in range(1, n_configurations)
        for name, values in figures.items()
    }
    return contrasts_of(effects, min_effect)


def _runs(
    rng: np.random.Generator,
    configuration: Configuration,
    number: int,
    n_configurations: int,
    n_cases: int,
    n_blocks: int,
    machine: Machine,
    load_s: float,
) -> dict[str, Values]:
    shape = (n_cases, n_blocks)
    # When each run was made, from 0 to 1: the machine drifts along it.
    place = [(block + order_of(block, n_configurations).index(number) / n_configurations) / n_blocks for block in range(n_blocks)]
    # The same for all configurations of a case: that is what a block is.
    of_block = np.random.default_rng(n_cases * 1000 + n_blocks).standard_normal(shape) * machine.of_block
    log_speed = of_block + machine.drift * np.array(place) + rng.standard_normal(shape) * machine.of_run
    speed = np.exp(log_speed)
    n = round(configuration.rate_per_s * load_s)
    arrivals = np.arange(n) / configuration.rate_per_s
    hiccup_at = np.where(rng.random(shape) < machine.hiccup, rng.uniform(0, load_s, shape), np.inf)
    free = np.zeros((*shape, configuration.threads))
    done, response = np.empty((*shape, n)), np.empty((*shape, n))
    waiting = np.empty((*shape, n))
    for step, at in enumerate(arrivals):
        stalled = np.where((at >= hiccup_at) & (at < hiccup_at + 0.3), hiccup_at + 0.3 - at, 0.0)
        run_s = 0.1 * configuration.slower * speed * np.exp(rng.standard_normal(shape) * 0.05)
        response[..., step] = 0.001 * configuration.response * speed * rng.gamma(4.0, 0.25, shape) + stalled
        begin = np.maximum(free.min(axis=-1), at + response[..., step])
        end = begin + run_s
        np.put_along_axis(free, free.argmin(axis=-1)[..., None], end[..., None], axis=-1)
        done[..., step] = end - at
        waiting[..., step] = begin - at
    shares = (0.5, 0.95, 0.99)
    quantiles = np.quantile(response, shares, axis=-1, method="inverted_cdf") * 1e3
    of_done = np.quantile(done, shares, axis=-1, method="inverted_cdf") * 1e3
    return {
        **{f"p{share * 100:.0f}": values for share, values in zip(shares, quantiles, strict=True)},
        **{f"done_p{share * 100:.0f}": values for share, values in zip(shares, of_done, strict=True)},
        "backlog": np.floor(waiting.max(axis=-1) * configuration.rate_per_s),
        "achieved": np.full(shape, configuration.rate_per_s),
        "finished": (arrivals + done < load_s).sum(axis=-1) / load_s,
        "cpu": 1.5 * speed * np.exp(rng.standard_normal(shape) * 0.02),
        "memory": 57e6 * np.exp(rng.standard_normal(shape) * 0.002),
        "broken_promises": rng.poisson(configuration.lost, shape).astype(np.float64),
    }
