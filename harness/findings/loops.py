"""Findings about the event loop: who held it, from the probe's own notes or from the beats that did not come. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

import numpy as np

from harness.findings.facts import Facts
from harness.findings.finding import FoundOut
from harness.findings.stretch import lasting_of
from harness.grouping import chunks
from harness.model import Note
from harness.rows import Rows, TaskKind
from harness.wording import duration_ms, duration_s, listed

__all__ = ["LONG_BLOCK_MS", "of_loops"]

LONG_BLOCK_MS: Final = 250.0
"""A shorter one may be a machine that had something else to do."""

_WORST: Final = 5
_MOST_SHOWN: Final = 3


def of_loops(facts: Facts) -> Iterator[FoundOut]:
    """One finding per function that held an event loop."""
    named = list(_noted(facts))
    yield from named or _late(facts)


def _noted(facts: Facts) -> Iterator[FoundOut]:
    by_function: dict[tuple[str, str], list[Note]] = {}
    evidence = facts.evidence
    ready_ns = {boot.boot: boot.ready_ns or 0 for boot in evidence.boots}
    lasting = lasting_of(evidence)
    for note in evidence.notes:
        # What happens while an app starts keeps nobody waiting, neither before the load nor after a restart in the middle of it.
        if note.kind != "blocked" or 0 < note.t_ns < max(evidence.load_start_ns, ready_ns.get(note.boot, 0)):
            continue
        # A process that was stopped on purpose, or had to share its cores, blocked nobody by itself.
        ended_ns = note.t_ns + int(note.blocked_ms * 1e6)
        if not any(began <= ended_ns and note.t_ns <= until for began, until in lasting):
            by_function.setdefault((note.function, note.file), []).append(note)
    for (function, _), notes in sorted(by_function.items(), key=lambda each: -max(note.blocked_ms for note in each[1])):
        worst = max(notes, key=lambda note: note.blocked_ms)
        where = f" ({worst.file}:{worst.line})" if worst.file else ""
        inside = f", inside {worst.inside}" if worst.inside else ""
        yield FoundOut(
            "loop-blocked",
            "critical" if worst.blocked_ms >= LONG_BLOCK_MS else "warning",
            f"{function or 'A call'}{where} held the event loop for up to {duration_ms(worst.blocked_ms)}{inside}: all that time"
            " the process answered nobody.",
            {
                "function": function,
                "file": worst.file,
                "line": worst.line,
                "inside": worst.inside,
                "blocked_ms": round(worst.blocked_ms, 3),
            },
            "Make it a def function, await an async client, or hand it to a thread.",
        )


def _late(facts: Facts) -> Iterator[FoundOut]:
    """From samples of the loop's beat: where no probe was there to see who held it, the tasks that ran then are named."""
    evidence = facts.evidence
    if evidence.gauges is None:
        return
    rows = evidence.gauges.rows
    reaped = {boot.boot: boot.reaped_ns or (1 << 62) for boot in evidence.boots}
    ended = {boot.boot: boot.frozen_ns or boot.signalled_ns or reaped[boot.boot] for boot in evidence.boots}
    ready = {boot.boot: boot.ready_ns or 0 for boot in evidence.boots}
    t_ns, lag_ns = rows["t_ns"].astype(np.int64), rows["loop_lag_ns"].astype(np.int64)
    # A server that is stopped or has been asked to end may let its loop wait.
    until = np.array([ended.get(int(boot), 0) for boot in rows["boot"]], np.int64)
    began = np.array([ready.get(int(boot), 0) for boot in rows["boot"]], np.int64)
    late = (lag_ns >= LONG_BLOCK_MS * 1e6) & (t_ns < until) & (t_ns - lag_ns >= np.maximum(began, evidence.load_start_ns))
    for from_ns, until_ns in lasting_of(evidence):
        late &= (t_ns < from_ns) | (t_ns - lag_ns > until_ns)
    if not late.any():
        return
    times = _blocks(t_ns[late], lag_ns[late])
    worst = sorted(times, key=lambda each: each[0] - each[1])[:_WORST]
    who = _running_in(facts, worst)
    longest_ms, total_s = (worst[0][1] - worst[0][0]) / 1e6, sum(end - begin for begin, end in times) / 1e9
    n = len(times)
    text = (
        f"The event loop did not come round for up to {duration_ms(longest_ms)}"
        + (f", {duration_s(total_s)} in all ({n} times)" if n > 1 else "")
        + (f". {listed(who)} ran then." if who else ".")
        + " All that time no async code of the server went on."
    )
    advice = (
        f"Does {who[0]} call something that blocks (a driver, requests, time.sleep, a long computation)? Make it a def function,"
        " await an async client, or hand it to a thread."
        if who
        else "Something computes without a pause, or blocks inside async def: the admin port's /tasks names who, while it lasts."
    )
    numbers = {"blocked_ms": round(longest_ms, 3), "times": n, "total_s": round(total_s, 3), "running": who}
    yield FoundOut("loop-blocked", "critical", text, numbers, advice)


def _blocks(t_ns: np.ndarray, lag_ns: np.ndarray) -> list[tuple[int, int]]:
    """Samples of the same time in which the loop stood still put together: (begin, end at least)."""
    found: list[tuple[int, int]] = []
    for end, lag in zip(t_ns.tolist(), lag_ns.tolist(), strict=True):
        begin = end - lag
        if found and begin <= found[-1][1]:
            found[-1] = (min(found[-1][0], begin), end)
        else:
            found.append((begin, end))
    return found


def _running_in(facts: Facts, times: list[tuple[int, int]]) -> list[str]:
    """Functions of tasks that were running all the while, those on the loop before those in threads."""
    on_loop: Counter[str] = Counter()
    in_threads: Counter[str] = Counter()
    middles = [(begin + end) // 2 for begin, end in times]
    for files in facts.evidence.tasks.values():
        for file in files:
            for rows in chunks(file):
                for middle in middles:
                    for number, kind in _at(rows, middle):
                        name = file.names[number] if number < len(file.names) else ""
                        (in_threads if kind == TaskKind.DEF else on_loop)[name or "a task"] += 1
    chosen = on_loop or in_threads
    return [name for name, _ in chosen.most_common(_MOST_SHOWN)]


def _at(rows: Rows, instant_ns: int) -> list[tuple[int, int]]:
    ended = np.where(rows["finished_ns"] != 0, rows["finished_ns"], rows["failed_ns"])
    running = (rows["started_ns"] != 0) & (rows["started_ns"] <= instant_ns) & ((ended == 0) | (ended >= instant_ns))
    chosen = rows[running]
    return list(zip(chosen["func"].tolist(), chosen["kind"].tolist(), strict=True))
