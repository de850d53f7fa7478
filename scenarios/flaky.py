"""A task that goes wrong in every way: it raises, hangs, leaks, or is slow with a heavy tail, each at a known rate.

Which operation meets which fate is decided by its number and the seed alone, so the check knows it without asking the server.
A task that hangs keeps its thread: a few of them are enough to starve the pool, and nothing in the answers shows it.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from scenarios import (
    Check,
    EffectRows,
    Figure,
    Plan,
    Request,
    Rows,
    Scenario,
    Settings,
    Task,
    World,
    duration,
    share,
    size,
)
from scenarios.apps import app_of
from scenarios.world.logfile import start_logfile

__all__ = ["SCENARIO"]
MB = 1_000_000


def traffic(seed: int, settings: Settings, folder: Path) -> list[Request]:
    """Anything."""
    words = random.Random(seed)
    bodies = [json.dumps({"data": f"item {words.randint(1, 999)}"}) for _ in range(50)]
    json_body = {"content-type": "application/json"}
    return [Request(name="POST /task", method="POST", path="/task", headers=json_body, body=body) for body in bodies]


async def world(rows: EffectRows, settings: Settings, folder: Path) -> World:
    """A log file."""
    return start_logfile(rows, folder / "done.log", name="done")


def check(rows: Rows, settings: Settings, folder: Path) -> Check:
    """What was meant to happen to the operations that were acknowledged, and what is left of them."""
    requests, effects, gauges = rows.requests, rows.effects, rows.gauges
    acknowledged = [f"{op:016x}" for op in requests["op"][requests["outcome"] == 1].tolist()]
    meant = {name: sum(settings.happens(name, op) for op in acknowledged) for name in ("raises", "hangs", "slow", "leaks")}
    wrong = sum(settings.happens("raises", f"{op:016x}") for op in effects["op"].tolist())
    grown = 0
    for boot in set(gauges["boot"].tolist()):
        # From its first task on: what came before is a server that starts.
        rss = gauges["server_rss_bytes"][(gauges["boot"] == boot) & (gauges["accepted"] > 0)]
        grown += int(rss[-1]) - int(rss[0]) if len(rss) else 0
    leaked_mb = meant["leaks"] * settings.bytes("leak") / MB
    hang = f"{settings.seconds('hang'):g} s"
    return Check(
        figures=(
            Figure(
                "raises", meant["raises"], "tasks", f"{meant['raises']:,} tasks were meant to raise, {wrong:,} left an effect"
            ),
            Figure("hangs", meant["hangs"], "tasks", f"{meant['hangs']:,} were meant to hang for {hang}, each with its thread"),
            Figure("slow", meant["slow"], "tasks", f"{meant['slow']:,} were slow, with a heavy tail"),
            Figure(
                "memory",
                grown / MB,
                "MB",
                f"{meant['leaks']:,} were meant to leak {leaked_mb:,.0f} MB; the server's memory grew by {grown / MB:,.0f} MB",
            ),
        ),
        problems=(f"{wrong} tasks that always raise have left an effect",) if wrong else (),
    )


SCENARIO = Scenario(
    name="flaky",
    summary="Tasks that raise, hang, leak, or are slow with a heavy tail, at known rates.",
    story=(
        "A few tasks that hang are enough to starve the pool, and no answer shows it: see the oldest task's age "
        "climb while responses stay flat."
    ),
    plan=Plan(rate_per_s=60.0, duration_s=14.0, pool=8, faults=("kill@10s",)),
    tasks=(Task("risky_operation", effect="log lines"),),
    settings=(
        share("raises", "5%", "of tasks, after they have worked"),
        share("hangs", "3%", "of tasks"),
        duration("hang", "5s", "how long such a task hangs"),
        share("slow", "20%", "of tasks, whose time has a heavy tail"),
        duration("slowest", "5s", "no task takes longer, but for those that hang"),
        share("leaks", "5%", "of tasks"),
        size("leak", "1MB", "what such a task keeps for ever", high="100MB"),
        duration("work", "20ms", "how long a task takes that nothing is wrong with"),
    ),
    app=app_of("flaky"),
    traffic=traffic,
    world=world,
    check=check,
)
