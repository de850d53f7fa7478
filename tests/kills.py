"""Random kills of real servers: `python -m tests.kills N [--engine uvicorn]`. Every invariant must hold in every run.

Each run is made from its seed alone: kind of task, rate, pool, delay, order, faults of every kind and their moments. A run that
fails keeps its directory, and `python -m tests.kills --seed S` makes it again.
"""

from __future__ import annotations

import argparse
import io
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from harness.errors import RunError, UsageError
from harness.evidence import read_evidence
from harness.plan import Plan
from harness.progress import Progress
from harness.session import describe, run
from tests.judged import LATE

WORK_S = 4.0
"""At most so much work is asked for that it could be done in this time."""


TOLERATED = re.compile(
    LATE.pattern + r"|No request was acknowledged|The fault .* landed (only after|.* late)"
    # Another fault of the plan, made by chance too, was in its way.
    r"|The fault .* did not (land|end): (boot \d+ was ended by|it had to wait|(only one|no) process of the server)"
    r"|The fault .* did not land: (backlog was at most|nobody told of)"
)


@dataclass(frozen=True)
class Finding:
    """One run: what was wrong with it, if anything was."""

    seed: int
    plan: str
    n_kills: int
    n_tasks: int
    n_lost: int
    wrong: tuple[str, ...]


def random_plan(seed: int, engine: str = "rust") -> Plan:
    """A short run with one to three faults at random moments."""
    choose = random.Random(seed)
    kind = choose.choices(["sync", "async", "blocking", "inline"], [4, 3, 1, 2])[0]
    pool = choose.randint(1, 16)
    for_s = choose.uniform(0.8, 1.6)
    rate = 20.0 * 20 ** choose.random()
    side_by_side = {"sync": pool, "async": 200, "blocking": 1, "inline": 40}[kind]
    delay_ms = min(choose.choice([1, 5, 20, 100, 200]), 1000 * WORK_S * side_by_side / (rate * for_s))
    names = choose.choices(["kill", "crash", "term", "int"], [6, 3, 1, 1], k=choose.choice([1, 1, 2, 3]))
    values: dict[str, Any] = {
        "scenario": "email",
        "tasks": kind,
        "pool": pool,
        "rate": round(rate, 1),
        "for_s": round(for_s, 2),
        "warm_up_s": 0.0,
        "arrivals": choose.choice(["constant", "poisson"]),
        "order": choose.choice(["sequential", "parallel"]),
        "on_error": choose.choice(["continue", "stop"]),
        "drain_s": round(choose.choice([0.05, 0.3, 5.0]), 2),
        "faults": tuple(f"{name}@{choose.uniform(0.0, for_s - 0.01) * 1000:.0f}ms" for name in names),
        "load_processes": choose.choice([1, 1, 2]),
        "request_timeout_s": 3.0,
        "seed": seed,
        "settings": {"delay": f"{max(1.0, delay_ms):.0f}ms"},
    }
    if choose.random() < 0.3:
        values["workers"] = 2
    values["faults"] += tuple(others(choose, for_s, values.get("workers", 1)))
    if engine != "rust":
        values |= {"engine": engine}
        values["faults"] = tuple(fault.replace("crash", choose.choice(["crash", "parent"])) for fault in values["faults"])
        del values["order"], values["on_error"]
    while True:
        try:
            return Plan.of(values, f"random plan {seed}")
        except UsageError:
            # Two that contradict each other, or one that this server cannot take: the last one is left out.
            values["faults"] = values["faults"][:-1]


def others(choose: random.Random, for_s: float, workers: int) -> Iterator[str]:
    """None to two faults that do not end the boot, or not always."""
    lasting = ["stop", "squeeze", "slow-world=80ms", "dead-world", "hog=1", "full-disk"]
    for _ in range(choose.choice([0, 0, 1, 2])):
        begin = choose.uniform(0.0, for_s / 2)
        if choose.random() < 0.3:
            yield f"{choose.choice(['worker', 'worker=term', 'rolling'] if workers > 1 else ['hup'])}@{begin * 1000:.0f}ms"
        else:
            length = choose.uniform(0.05, for_s - begin - 0.02)
            yield f"{choose.choice(lasting)}@{begin * 1000:.0f}ms+{length * 1000:.0f}ms"
    if choose.random() < 0.2:
        yield f"kill@backlog>{choose.choice([0, 3, 10])}"


def check(seed: int, keep: Path, engine: str = "rust") -> Finding:
    """Makes the run of one seed and looks for anything wrong with it."""
    plan = random_plan(seed, engine)
    out = keep / f"seed-{seed}"
    try:
        scenario = describe(plan)
        outcome = run(plan, scenario, out=out, progress=Progress(io.StringIO()))
    except RunError as error:
        return Finding(seed, repr(plan), 0, 0, 0, (f"{type(error).__name__}: {error}",))
    summary, evidence = outcome.summary, read_evidence(outcome.rundir)
    # Every reason not to trust the run, but for those that come of a plan made by chance on a busy machine.
    wrong = [reason for reason in summary.reasons if not TOLERATED.match(reason)]
    kills = sum(boot.signal == "SIGKILL" for boot in evidence.boots)
    if not wrong:
        shutil.rmtree(out)
    return Finding(seed, repr(plan), kills, summary.tasks.accepted, summary.tasks.lost or 0, tuple(wrong))


def main() -> int:
    """Exit status 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=int, nargs="?", default=100)
    parser.add_argument("--seed", type=int, help="only the run of this seed")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--engine", choices=["rust", "uvicorn", "granian"], default="rust")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    given = parser.parse_args()
    seeds = [given.seed] if given.seed is not None else list(range(given.first, given.first + given.runs))
    keep = Path(tempfile.mkdtemp(prefix="afterload-kills-"))
    begun = time.monotonic()
    findings: list[Finding] = []
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(check, seed, keep, given.engine) for seed in seeds]):
            findings.append(done.result())
            last = findings[-1]
            if last.wrong:
                print(f"seed {last.seed}: {last.plan}\n  " + "\n  ".join(last.wrong), flush=True)
            if len(findings) % 50 == 0 or len(findings) == len(seeds):
                print(f"{len(findings)} of {len(seeds)} runs, {time.monotonic() - begun:.0f} s", flush=True)
    bad = [finding for finding in findings if finding.wrong]
    print(
        f"{sum(finding.n_kills for finding in findings):,} kills in {len(findings):,} runs, "
        f"{sum(finding.n_tasks for finding in findings):,} tasks accepted, {sum(finding.n_lost for finding in findings):,} lost: "
        f"every invariant held in {len(findings) - len(bad):,} of {len(findings):,} runs"
    )
    if bad:
        print(f"directories of the failed runs: {keep}")
        return 1
    shutil.rmtree(keep)
    return 0


if __name__ == "__main__":
    sys.exit(main())
