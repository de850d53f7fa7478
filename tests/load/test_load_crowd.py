"""Users of templates: each waits for an answer before the next request."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.rows import Outcome

from .helpers import LoadProcess, RawServer, Reply

Job = dict[str, Any]


def closed(job: Job, **more: Any) -> Job:
    return {**{key: value for key, value in job.items() if key not in {"rate_per_s", "arrivals"}}, "duration_s": 0.5, **more}


def test_users_wait_for_answers_and_think_and_are_shared_out(
    serve: Callable[..., RawServer], start_load: Callable[..., LoadProcess], job: Job, tmp_path: Path
) -> None:
    """Three users over two processes, 50 ms a request and 50 ms of thinking: about five requests each, never four at once."""

    def answer(_: int) -> Reply:
        time.sleep(0.05)
        return Reply()

    server = serve(answer)
    loads = []
    for process in range(2):
        rows = str(tmp_path / f"r-{process}.rows")
        more = {"process": process, "processes": 2, "rows": rows, "port": server.port}
        loads.append(start_load(closed(job, users=3, think_s=0.05, spawn_rate_per_s=20.0, **more)))
    for load in loads:
        assert load.read() == {"ready": True, "planned": 0}
    t0_ns = time.monotonic_ns() + 50_000_000
    for load in loads:
        load.send({"t0_ns": t0_ns})
    told = [load.finish() for load in loads]
    together = np.concatenate([load.rows().rows for load in loads])

    assert [each["users"] for each in told] == [2, 1]
    assert sum(each["planned"] for each in told) == sum(each["sent"] for each in told) == len(together) == len(server.requests)
    assert {int(Outcome.ACK)} == set(together["outcome"].tolist())
    assert len(set(together["op"].tolist())) == len(together)
    assert 3 <= len(together) <= 15
    assert together["due_ns"].tolist() == together["sent_ns"].tolist()
    # How many were under way when each one was sent, itself included.
    under_way = [int(((together["sent_ns"] <= at) & (together["done_ns"] > at)).sum()) for at in together["sent_ns"]]
    assert max(under_way) <= 3
    starts = np.sort(together["sent_ns"])[:3] - t0_ns
    assert bool((starts >= np.array([0, 50_000_000, 100_000_000])).all()), "twenty users start per second"


def test_a_choice_of_templates_follows_the_weights_and_the_seed(
    serve: Callable[..., RawServer], start_load: Callable[..., LoadProcess], job: Job, tmp_path: Path
) -> None:
    """The same seed, the same requests in the same order; `{n}` counts them and `{uuid}` differs in each."""
    templates = [
        {"name": "often", "method": "GET", "path": "/often/{n}", "weight": 9.0},
        {"name": "seldom", "method": "GET", "path": "/seldom/{uuid}"},
    ]
    servers = [serve(lambda _: Reply()) for _ in range(2)]
    loads = []
    for turn, server in enumerate(servers):
        rows = str(tmp_path / f"t-{turn}.rows")
        loads.append(start_load(closed(job, users=1, think_s=0.01, templates=templates, port=server.port, rows=rows)))
    for load in loads:
        load.go()
    for load in loads:
        load.finish()
    sent = [[request.split(b" ", 2)[1].decode() for request in server.requests] for server in servers]
    shorter = min(map(len, sent))

    assert shorter > 5
    assert sent[0][:shorter] == sent[1][:shorter]
    assert [path.split("/")[2] for path in sent[0] if "often" in path] == [
        str(n + 1) for n, p in enumerate(sent[0]) if "often" in p
    ]
    assert sum("often" in path for path in sent[0]) > len(sent[0]) / 2
    assert all(
        path == f"/seldom/00003039-0000-4000-8000-00000000{n + 1:04x}" for n, path in enumerate(sent[0]) if "seldom" in path
    )
