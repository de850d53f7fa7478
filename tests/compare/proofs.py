"""The promises of a comparison on many simulated ones: `python -m tests.compare.proofs [CASES]`. A part of them are tests."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

from harness.commands.compare import BLOCKS
from harness.compare.contrasts import Contrast
from tests.compare.simulated import STEADY, Configuration, Machine, Values, compared, simulate


def share(
    configurations: list[Configuration],
    is_so: Callable[[list[Contrast]], bool],
    *,
    n_cases: int,
    seed: int,
    n_blocks: int = BLOCKS,
    machine: Machine = STEADY,
) -> float:
    """Of so many comparisons, those of which something is so."""
    figures = simulate(configurations, n_cases=n_cases, n_blocks=n_blocks, seed=seed, machine=machine)
    return sum(is_so(compared(figures, case)) for case in range(n_cases)) / n_cases


def anything_differs(contrasts: list[Contrast]) -> bool:
    return any(each.decision == "different" for each in contrasts)


def work_is_later(contrasts: list[Contrast]) -> bool:
    return any(each.quantity in {"done_p50", "done_p95"} and each.direction == "worse" for each in contrasts)


def done_is_equal(contrasts: list[Contrast]) -> bool:
    return any(each.quantity == "done_p50" and each.decision == "equal" for each in contrasts)


def decided(
    configurations: list[Configuration], quantity: str, *, n_cases: int, seed: int, most: int = 60
) -> list[tuple[Contrast, int]]:
    """How one figure is decided, and of how many blocks, by somebody who adds as many as the comparison says are needed."""
    figures = simulate(configurations, n_cases=n_cases, n_blocks=most, seed=seed)
    return [_decided(figures, case, quantity, most) for case in range(n_cases)]


def _decided(figures: dict[str, Values], case: int, quantity: str, most: int) -> tuple[Contrast, int]:
    n = BLOCKS
    while True:
        so_far = {name: values[..., :n] for name, values in figures.items()}
        found = next(each for each in compared(so_far, case) if each.quantity == quantity)
        if found.decision != "unclear" or found.needed is None or n >= most:
            return found, n
        n = min(max(found.needed, n + 2), most)


def main(n_cases: int) -> None:
    same, slower = Configuration(), Configuration(slower=1.10)
    rows: list[tuple[str, Callable[[], float]]] = [
        (
            "two identical configurations are called different",
            lambda: share([same] * 2, anything_differs, n_cases=n_cases, seed=11),
        ),
        ("one of four identical ones is", lambda: share([same] * 4, anything_differs, n_cases=n_cases, seed=12)),
        (
            "two identical ones are, while the machine gets 50 % slower",
            lambda: share([same] * 2, anything_differs, n_cases=n_cases, seed=13, machine=Machine(drift=0.405)),
        ),
        ("tasks that take 10 % longer are found", lambda: share([same, slower], work_is_later, n_cases=n_cases, seed=14)),
        (
            "the same with 6 blocks",
            lambda: share([same, slower], work_is_later, n_cases=n_cases, seed=15, n_blocks=6),
        ),
        (
            "tasks that take 5 % longer are called equal",
            lambda: share([same, Configuration(slower=1.05)], done_is_equal, n_cases=n_cases, seed=16),
        ),
        (
            "identical ones are called equal in done p50, of 8 blocks",
            lambda: share([same] * 2, done_is_equal, n_cases=n_cases, seed=17),
        ),
        (
            "the same, of 20 blocks",
            lambda: share([same] * 2, done_is_equal, n_cases=n_cases, seed=18, n_blocks=20),
        ),
    ]
    rows.extend(
        (
            f"the same in {quantity}, of as many blocks as the comparison asks for",
            partial(_share_equal, same, quantity, n_cases),
        )
        for quantity in ("p50", "p95", "done_p50", "cpu")
    )
    print(f"{n_cases:,} simulated comparisons each, {BLOCKS} blocks unless said")
    for words, work in rows:
        print(f"{work():>7.1%}  {words}", flush=True)


def _share_equal(same: Configuration, quantity: str, n_cases: int) -> float:
    return sum(found.decision == "equal" for found, _ in decided([same] * 2, quantity, n_cases=n_cases, seed=19)) / n_cases


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
