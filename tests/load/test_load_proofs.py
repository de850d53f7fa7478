"""What the figures of the load generator are worth, proved on real processes: a frozen server, a frozen generator, every row."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.accounting import account
from harness.grouping import NEVER_NS, OpTable, group
from harness.load import null
from harness.model import Evidence, Expectation
from harness.rows import Kind, Outcome, RequestError, RowFile
from harness.rows.layout import REQUEST
from harness.statistics import Statistics, measure, response_ns

from .helpers import LoadProcess, RawServer, Reply

Job = dict[str, Any]
StartLoad = Callable[..., LoadProcess]

RATE = 200
LOAD_S = 4.0
FREEZE_S = 2.0
TRIES = 2
RUN_TAG = 12345


@pytest.fixture
def null_server() -> Iterator[tuple[int, int]]:
    """A process that answers at once; its pid and port."""
    with subprocess.Popen([sys.executable, "-I", "-S", null.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.pid, json.loads(process.stdout.readline())["port"]
        process.stdin.close()
        assert process.wait(5) == 0


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stops a process, and lets it go on."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def sleep_until(at_ns: int) -> None:
    time.sleep(max(0.0, (at_ns - time.monotonic_ns()) / 1e9))


def closed(job: Job, **more: Any) -> Job:
    return {**{key: value for key, value in job.items() if key not in {"rate_per_s", "arrivals"}}, **more}


def evidence_of(*files: RowFile, start_ns: int, for_s: float) -> Evidence:
    return Evidence(
        run_tag=RUN_TAG,
        load_start_ns=start_ns,
        load_end_ns=start_ns + int(for_s * 1e9),
        planned_requests=0,
        expectation=Expectation(tasks_per_request=0, effects_per_request=0),
        requests=files,
        tasks={},
        effects=[],
        boots=[],
    )


def figures(evidence: Evidence) -> tuple[Statistics, OpTable]:
    found = account(evidence)
    return measure(evidence, found), found.tables.ops


def assert_response_is_service_and_lag(ops: OpTable) -> None:
    """Nanosecond by nanosecond, of every request that was acknowledged; and none of the two parts is below zero."""
    answered = ops.ack_ns != NEVER_NS
    response, sent, due = response_ns(ops)[answered], ops.sent_ns[answered], ops.due_ns[answered]
    service, lag = ops.ack_ns[answered] - sent, sent - due

    assert bool((response == service + lag).all())
    assert bool((lag >= 0).all())
    assert bool((service > 0).all())
    assert len(response) > 0


def frozen_for_two_seconds(start_load: StartLoad, job: Job, server: tuple[int, int], folder: Path) -> tuple[Any, ...]:
    """200 requests a second for 4 s, and beside them one user who waits for answers; the server stands still for 2 s of it."""
    pid, port = server
    folder.mkdir()
    of_rate = start_load({**job, "port": port, "rate_per_s": float(RATE), "duration_s": LOAD_S, "max_in_flight": 1000,
                          "request_timeout_s": 10.0, "rows": str(folder / "open.rows")})  # fmt: skip
    of_user = start_load(
        closed(
            job, port=port, users=1, think_s=0.005, duration_s=LOAD_S, request_timeout_s=10.0, rows=str(folder / "closed.rows")
        )
    )
    for load in (of_rate, of_user):
        assert load.read()["ready"]
    start_ns = time.monotonic_ns() + 100_000_000
    for load in (of_rate, of_user):
        load.send({"t0_ns": start_ns})
    sleep_until(start_ns + 1_002_500_000)
    with frozen(pid):
        stopped_ns = time.monotonic_ns()
        sleep_until(stopped_ns + int(FREEZE_S * 1e9))
        went_on_ns = time.monotonic_ns()
    for load in (of_rate, of_user):
        load.finish()
    return of_rate.rows(), of_user.rows(), start_ns, stopped_ns, went_on_ns


def closed_form_ms(q: float, n: int, start_ns: int, stopped_ns: int, went_on_ns: int) -> float:
    """The q-quantile of the responses to n requests at a constant rate, of which those due during a freeze wait for its end.

    The first one due in the freeze waits longest, and each one after it 1 / rate less. The nearest-rank quantile of n values has
    n - ceil(q * n) values above it, and these are the first ones that waited.
    """
    first_due_ns = start_ns + math.ceil((stopped_ns - start_ns) * RATE / 1e9) * 1e9 / RATE
    return (went_on_ns - first_due_ns) / 1e6 - (n - math.ceil(q * n)) * 1000 / RATE


def test_a_freeze_of_the_server_is_in_the_percentiles_as_long_as_it_was(
    null_server: tuple[int, int], start_load: StartLoad, job: Job, tmp_path: Path
) -> None:
    """Two seconds of four at 200/s: p90, p95 and p99 are what the closed form says, within 1 %, and never below it.

    A user who waits for answers (a closed loop, at about the same rate) sees the whole freeze once, and its p99 hides it. That
    each row's response is service and lag holds for both. The machine may take the processor away just when the server goes on:
    of some tries one has to be within 1 %, or, on a machine with so much else to do, as much above it as those waited who came
    just after the freeze. Whatever it does, the closed loop must never come near, and the open one never below.
    """
    errors: list[dict[float, float]] = []
    noise: list[float] = []
    for turn in range(TRIES):
        of_rate, of_user, start_ns, stopped_ns, went_on_ns = frozen_for_two_seconds(
            start_load, job, null_server, tmp_path / str(turn)
        )
        seen, ops = figures(evidence_of(of_rate, start_ns=start_ns, for_s=LOAD_S))
        uncorrected, ops_of_user = figures(evidence_of(of_user, start_ns=start_ns, for_s=LOAD_S))
        assert_response_is_service_and_lag(ops)
        assert_response_is_service_and_lag(ops_of_user)
        n = int(RATE * LOAD_S)
        assert n == seen.response.n == len(of_rate.rows)
        quantiles = {0.90: seen.response.p90_ms, 0.95: seen.response.p95_ms, 0.99: seen.response.p99_ms}
        expected = {q: closed_form_ms(q, n, start_ns, stopped_ns, went_on_ns) for q in quantiles}
        errors.append({q: quantiles[q] / expected[q] - 1 for q in quantiles})

        assert 1500 < expected[0.90] < expected[0.95] < expected[0.99] < 2100
        # A microsecond for the conversions to ms; the stop itself took effect at the latest when it was noted.
        assert all(quantiles[q] >= expected[q] - 0.001 for q in quantiles)
        assert ops_of_user.sent_ns.tolist() == ops_of_user.due_ns.tolist()
        assert uncorrected.response.max_ms > 1900
        if uncorrected.response.n > 150:  # else the machine was so slow that the one long wait is more than 1 % of all
            assert uncorrected.response.p99_ms < expected[0.99] / 4
        if max(errors[-1].values()) <= 0.01:
            return
        came_after = (ops.due_ns > went_on_ns) & (ops.due_ns < went_on_ns + 200_000_000)
        noise.append(float(response_ns(ops)[came_after].max()) / 1e6 / expected[0.90])
    best = min(range(TRIES), key=lambda turn: max(errors[turn].values()) - noise[turn])
    assert max(errors[best].values()) <= 0.01 + noise[best], f"not within 1 % of the closed form: {errors}; others waited {noise}"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 40),  # operation
            st.integers(0, 10**10),  # due
            st.integers(0, 10**9),  # lag
            st.integers(1, 10**10),  # service
            st.sampled_from(["ack", "open", "refused", "shed"]),
        ),
        min_size=1,
        max_size=80,
    )
)
def test_response_is_service_and_lag_whatever_rows_there_are(sends: Sequence[tuple[int, int, int, int, str]]) -> None:
    """Also of operations that were sent several times, answered in any order, shed, refused or never answered."""
    rows = np.zeros(len(sends), dtype=REQUEST)
    for row, (op, due_ns, lag_ns, service_ns, end) in zip(rows, sends, strict=True):
        row["op"], row["due_ns"] = RUN_TAG << 32 | op + 1, due_ns + 1
        row["sent_ns"] = 0 if end == "shed" else due_ns + 1 + lag_ns
        row["done_ns"] = 0 if end in {"open", "shed"} else due_ns + 1 + lag_ns + service_ns
        row["outcome"] = {"ack": Outcome.ACK, "open": Outcome.OPEN}.get(end, Outcome.REJ)
        row["error"] = RequestError.OVERDUE if end == "shed" else RequestError.NONE
    file = RowFile(Path("r"), Kind.REQUESTS, 1, 0, 1, 0, 0, len(rows), 0, 0, ("",), (0,) * 32, rows)
    ops = group(evidence_of(file, start_ns=0, for_s=1.0)).ops

    if bool((ops.ack_ns != NEVER_NS).any()):
        answered = ops.ack_ns != NEVER_NS
        assert bool(
            (response_ns(ops)[answered] == (ops.ack_ns - ops.sent_ns)[answered] + (ops.sent_ns - ops.due_ns)[answered]).all()
        )
    assert {op + 1 for op, *_, end in sends if end != "shed"} == set(ops.op.tolist())


def test_what_a_frozen_generator_cannot_send_in_time_is_shed_and_never_sent_late(
    serve: Callable[..., RawServer], start_load: StartLoad, job: Job
) -> None:
    """Stopped for over a second at 100/s, with half a second of patience: what was due in the first part of it is shed, and kept
    as a row with its due time; the rest is sent, within the patience; none is sent twice; the process says how long it stood.
    """
    server = serve(lambda _: Reply())
    load = start_load(
        {**job, "port": server.port, "rate_per_s": 100.0, "duration_s": 1.8, "send_within_s": 0.5, "max_in_flight": 500}
    )
    start_ns = load.go(after_s=0.1)
    sleep_until(start_ns + 300_000_000)
    with frozen(load.process.pid):
        stopped_ns = time.monotonic_ns()
        sleep_until(stopped_ns + 1_200_000_000)
        went_on_ns = time.monotonic_ns()
    done = load.finish()
    rows = np.asarray(load.rows().rows)
    shed = rows[rows["error"] == RequestError.OVERDUE]
    sent = rows[rows["sent_ns"] != 0]
    lag_ns = (sent["sent_ns"] - sent["due_ns"]).astype(np.int64)

    assert done["planned"] == done["sent"] + done["shed"] == len(rows) == 180
    assert (len(server.requests), done["overdue"], done["shed"]) == (len(sent), len(shed), len(shed))
    assert set(rows["op"].tolist()) == {RUN_TAG << 32 | k + 1 for k in range(180)}
    assert int(lag_ns.max()) <= 500_000_000
    assert done["late"] == int((lag_ns > 20_000_000).sum()) > 30
    # Whoever was due more than the patience before it went on could not be sent in time, and was not.
    hopeless = {start_ns + k * 10_000_000 for k in range(180)}
    hopeless = {due for due in hopeless if stopped_ns + 10_000_000 < due < went_on_ns - 510_000_000}
    assert hopeless <= set(shed["due_ns"].tolist())
    assert len(hopeless) > 50
    assert {(int(Outcome.REJ), 0, 0)} == {(row["outcome"], row["sent_ns"], row["done_ns"]) for row in shed}
    assert done["stalled_s"] >= done["longest_stall_s"] > (went_on_ns - stopped_ns) / 1e9 - 0.05
    # And when that was, after load start.
    assert any(
        from_s < (stopped_ns - start_ns) / 1e9 + 0.05 and from_s + length_s > (went_on_ns - start_ns) / 1e9 - 0.001
        for from_s, length_s in done["stalls"]
    )


def test_a_generator_that_stood_still_says_so_in_the_closed_model_too(
    null_server: tuple[int, int], start_load: StartLoad, job: Job
) -> None:
    """A user is never late, for it is due when it sends: without a heart beat a stopped process would pass for a slow server."""
    load = start_load(closed(job, port=null_server[1], users=2, think_s=0.01, duration_s=0.9))
    start_ns = load.go(after_s=0.1)
    sleep_until(start_ns + 200_000_000)
    with frozen(load.process.pid):
        time.sleep(0.5)
    done = load.finish()

    assert (done["late"], done["overdue"], done["shed"]) == (0, 0, 0)
    assert done["longest_stall_s"] > 0.45


@pytest.mark.parametrize("spread", ["constant", "exponential"])
def test_users_think_as_long_as_they_were_told_to(
    null_server: tuple[int, int], start_load: StartLoad, job: Job, spread: str
) -> None:
    """Of one user the gap between an answer and the next request is the thinking time, never less; drawn from the seed."""
    load = start_load(closed(job, port=null_server[1], users=1, think_s=0.02, think_spread=spread, duration_s=0.8))
    load.go()
    load.finish()
    rows = np.asarray(load.rows().rows)
    gaps_s = (rows["sent_ns"][1:] - rows["done_ns"][:-1]).astype(np.int64) / 1e9
    draw = random.Random("1/0/think")
    meant_s = np.array([draw.expovariate(50) if spread == "exponential" else 0.02 for _ in gaps_s])

    assert len(gaps_s) > 10
    assert bool((gaps_s > meant_s - 0.0005).all()), "a timer that fires half a millisecond early is one that fires early"
    assert float(np.median(gaps_s - meant_s)) < 0.01
