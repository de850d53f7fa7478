"""A search against a simulated server, in the folder of a real one: what the outputs are made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.capacity.design import Asking, Design
from harness.capacity.folder import Folder
from harness.capacity.schema import Cause
from harness.capacity.search import Options, Search
from harness.plan import Plan
from tests.capacity.simulated import Queue

PLAN = Plan.of({"scenario": "email", "pool": 10, "rate": 12.5, "for_s": 9.0, "slos": ["p99<50ms"]}, "test").plain()
POOL = Cause(kind="pool", text="the pool is full: 10 threads, 100 ms each task, so at most 100 tasks/s")


def searched_in(path: Path, labels: tuple[str, ...] = ("",), *, stages: int | None = None) -> Folder:
    """One configuration for each label, the second half as fast as the first and so on; `stages`: no more than so many."""
    options = Options(start=12.5, most=1000.0)
    askings = tuple(Asking(label=label, plan=PLAN, options=options) for label in labels)
    folder = Folder.new(path, Design(title="email", began="2026-01-01T00:00:00+00:00", configurations=askings))
    for place, asking in enumerate(askings, 1):
        server = Queue(np.random.default_rng(1), run_s=0.1 * place, poisson=False, spread="constant")
        search = Search(options)
        while (asked := search.next()) is not None and (stages is None or len(search.told) < stages):
            result = server.stage(asked, len(search.told) + 1)
            is_bad = result.growth is not None and result.growth.low > 0
            seen = {"response_p99_ms": 5.0, "done_p95_ms": 900.0 if is_bad else 104.0, "pending_mean": asked.rate / 10}
            run = f"stages/{result.number:02d}-{asked.rate:g}"
            search.tell(result.model_copy(update={**seen, "run": run, "cause": POOL if is_bad else None}))
        folder.tell(asking, search.told)
    return folder
