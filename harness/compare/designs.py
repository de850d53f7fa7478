"""In which order configurations run, block by block. Pure functions.

Every block has each configuration once. What changes while a comparison goes on (a machine that gets warm, a disk that fills)
must not look like a difference, and neither must what one run leaves behind for the next: so the order changes from block to
block along a Williams design, in which every configuration comes at every place, and after every other one, equally often (E.
J. Williams, Experimental designs balanced for the estimation of residual effects of treatments, 1949). Its rows are taken in
pairs, each followed by its reverse, so that whatever changes linearly over time is gone after every second block: of two
configurations that is A B B A.
"""

from __future__ import annotations

__all__ = ["balanced_blocks", "order_of", "orders"]


def orders(n_configurations: int) -> list[list[int]]:
    """All rows of the design, each a permutation of 0 to n - 1; even places hold a row, odd ones its reverse."""
    n = n_configurations
    if n == 1:
        return [[0]]
    # 0, n-1, 1, n-2, ...: neighbours differ by something else each time.
    first = [place // 2 if place % 2 == 0 else n - 1 - place // 2 for place in range(n)]
    rows = [[(value + shift) % n for value in first] for shift in range(n)]
    paired: list[list[int]] = []
    for row in rows:
        if row not in paired:
            paired += [row, row[::-1]]
    return paired


def order_of(block: int, n_configurations: int) -> list[int]:
    """The order in block number `block`, from 0."""
    rows = orders(n_configurations)
    return rows[block % len(rows)]


def balanced_blocks(n_configurations: int) -> int:
    """After so many blocks, and each multiple, the design is complete."""
    return len(orders(n_configurations))
