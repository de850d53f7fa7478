"""Requests that come back as histograms: seconds add up to the whole, and figures are within 0.1 %."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram

from harness.histograms import HistogramError, count_rows, read_counted
from harness.rows import Kind, Outcome, RequestError, RowWriter, read_rows
from harness.statistics import quantiles
from harness.summary import build_summary
from tests.accounting.world import MS, START_NS, Plan, simulate

T0 = 5_000 * 10**9
N = 3000
TOLD = ("connections-timed-out", "connections-closed")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Three seconds at 1,000/s: 1 % refused, 1 % without an answer, some shed, responses between 0.2 ms and 2 s."""
    path = tmp_path / "requests-1.rows"
    took = (np.random.default_rng(6).lognormal(15.5, 1.2, N)).astype(np.int64)
    with RowWriter(path, Kind.REQUESTS) as writer:
        for k in range(N):
            due = T0 + k * 1_000_000
            if k % 500 == 499:
                writer.append((k + 1, Outcome.REJ << 16 | 6 << 24, due))
                continue
            outcome = {0: Outcome.REJ, 1: Outcome.OPEN}.get(k % 100, Outcome.ACK)
            done = 0 if outcome is Outcome.OPEN else due + 50_000 + int(took[k])
            writer.append((k + 1, 200 | outcome << 16 | 1 << 32, due, due + 50_000, done))
    return path


@pytest.fixture
def file(rows: Path) -> Path:
    path = rows.with_suffix(".hdr.jsonl")
    count_rows(rows, path, t0_ns=T0, warm_up_s=0.25, process=1)
    return path


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_seconds_added_up_are_the_whole_bit_for_bit(file: Path) -> None:
    """By the library's own means alone, as anybody else would merge them."""
    _, *seconds, whole = lines(file)

    assert [each["from_s"] for each in seconds] == [0.0, 0.25, 1.0, 2.0]
    for kind in ("response", "answered", "service", "lag"):
        merged = HdrHistogram.decode(seconds[0][kind])
        for each in seconds[1:]:
            merged.add(HdrHistogram.decode(each[kind]))
        again = HdrHistogram(1, 3_600_000_000_000, 3)
        again.add(merged)
        assert again.encode().decode() == whole[kind]
        assert merged.get_total_count() == {"lag": N - 6}.get(kind, whole["acked"])


def test_figures_from_histograms_are_within_a_thousandth_of_those_from_rows(rows: Path, file: Path) -> None:
    from harness.rows import read_rows

    found = np.asarray(read_rows(rows).rows)
    measured = found[found["due_ns"] >= T0 + 250_000_000]
    acked = measured[measured["outcome"] == Outcome.ACK]
    exact = quantiles((acked["done_ns"] - acked["due_ns"]).astype(np.int64))

    counted = read_counted(file, 0.25)

    close = quantiles(np.empty(0, np.int64), [counted.answered])
    assert close.n == exact.n == len(acked)
    for name in ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "p999_ms"):
        assert getattr(exact, name) <= getattr(close, name) <= getattr(exact, name) * 1.001
    assert close.max_ms == exact.max_ms
    assert (counted.sent, counted.shed, counted.acked) == (N - 6, 6, int(np.count_nonzero(found["outcome"] == Outcome.ACK)))
    assert counted.measured == np.count_nonzero(measured["sent_ns"])


def test_rows_and_histograms_make_one_distribution_with_the_unanswered_at_its_end(file: Path) -> None:
    counted = read_counted(file, 0.25)
    exact = np.full(10_000, 1_000, np.int64)

    both = quantiles(exact, [counted.response])

    assert both.n == 10_000 + int(counted.response.counts.sum()) + counted.response.n_never
    assert (
        both.n_never
        == counted.response.n_never
        == counted.measured - counted.measured_rejected - int(counted.answered.counts.sum())
    )
    assert both.p50_ms == 0.001
    assert math.isinf(both.max_ms)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text.replace('"version": 1', '"version": 2'), "is of version 2; this afterload reads version 1"),
        (lambda text: "\n".join(text.splitlines()[:-2]) + "\n", "is cut off"),
        (lambda text: text.replace('"acked": ', '"acked": 1', 1), "does not add up"),
        (lambda text: text.replace('"silent": [', '"silent": [7', 1), "does not add up"),
        (lambda text: text[:-200], "is no file of histograms"),
        (lambda text: "", "is no file of histograms"),
    ],
)
def test_a_damaged_file_is_no_evidence(file: Path, damage: Any, said: str) -> None:
    file.write_text(damage(file.read_text()))

    with pytest.raises(HistogramError, match=said):
        read_counted(file, 0.25)


def test_whoever_waited_for_a_connection_in_vain_is_told_apart_from_whoever_was_refused(tmp_path: Path) -> None:
    """As never answered, as in the figures from rows; and what the load machine itself could not do is counted."""
    path = tmp_path / "requests-1.rows"
    errors = [RequestError.CONNECT_TIMED_OUT] * 3 + [RequestError.REFUSED] * 5 + [RequestError.OWN_LIMIT] * 7
    with RowWriter(path, Kind.REQUESTS) as writer:
        for k, error in enumerate(errors):
            due = T0 + k * 100_000_000
            writer.append((k + 1, Outcome.REJ << 16 | error << 24 | 1 << 32, due, due + 1, due + 2))
    count_rows(path, path.with_suffix(".hdr.jsonl"), t0_ns=T0, warm_up_s=0.0, process=1)
    found = read_counted(path.with_suffix(".hdr.jsonl"), 0.0)

    assert (found.rejected, found.unconnected, found.own_limit, found.measured_rejected) == (15, 3, 7, 12)
    assert (found.response.n_never, found.service.n_never) == (3, 3)


@pytest.mark.parametrize("what", [RequestError.TIMED_OUT, RequestError.RESET, RequestError.CONNECT_TIMED_OUT, None])
def test_what_was_never_answered_while_the_server_was_up_is_told_from_histograms_as_from_rows(
    tmp_path: Path, what: RequestError | None
) -> None:
    """Of two load processes one hands back histograms. Around the kill there is no answer, which explains what touches it."""
    evidence = simulate(
        Plan(n_requests=600, gap_ms=10, processes=2, kills=(("SIGKILL", 3000.0),), restart_ms=200.0, seed=3)
    ).evidence
    rows = np.array(evidence.requests[1].rows)
    for place in (20, 21, 22, 250, int(np.searchsorted(rows["due_ns"], START_NS + 2_950 * MS))):
        outcome = Outcome.REJ if what is RequestError.CONNECT_TIMED_OUT else Outcome.IND if what else Outcome.OPEN
        rows["outcome"][place], rows["error"][place], rows["status"][place] = outcome, what or RequestError.NONE, 0
        rows["done_ns"][place] = rows["sent_ns"][place] + 100 * MS if what else 0
    path = tmp_path / "requests-1.rows"
    with RowWriter(path, Kind.REQUESTS) as writer:
        for row in rows:
            meta = int(row["status"]) | int(row["outcome"]) << 16 | int(row["error"]) << 24 | 1 << 32
            writer.append((int(row["op"]), meta, *(int(row[name]) for name in ("due_ns", "sent_ns", "done_ns"))))
    count_rows(path, path.with_suffix(".hdr.jsonl"), t0_ns=START_NS, warm_up_s=0.0, process=1)
    closed_ns = read_rows(path).closed_ns
    by_rows = dataclasses.replace(
        evidence, requests=[evidence.requests[0], dataclasses.replace(evidence.requests[1], rows=rows, closed_ns=closed_ns)]
    )
    by_histogram = dataclasses.replace(
        evidence, requests=[evidence.requests[0]], counted=[read_counted(path.with_suffix(".hdr.jsonl"), 0.0)]
    )
    one, other = (build_summary(each, {}, {}) for each in (by_rows, by_histogram))
    found = [next((each.evidence["requests"] for each in of.findings if each.id in TOLD), 0) for of in (one, other)]

    assert one.requests.unanswered_while_up == other.requests.unanswered_while_up
    assert one.requests.closed_while_up == other.requests.closed_while_up
    assert found[0] == found[1]
    n = 4 if what is not None else 0
    assert n == (one.requests.unanswered_while_up + one.requests.closed_while_up) or found[0] == n
    is_told = "never answered although the server was up" in " ".join(other.reasons)
    assert is_told == (what is RequestError.TIMED_OUT)


def test_a_file_of_before_requests_without_a_connection_were_told_apart_can_be_read(file: Path) -> None:
    new = {"unconnected", "own_limit", "silences"}
    before = [{name: value for name, value in line.items() if name not in new} for line in lines(file)]
    file.write_text("".join(json.dumps(line) + "\n" for line in before))

    assert (read_counted(file, 0.25).unconnected, read_counted(file, 0.25).own_limit) == (0, 0)


def test_a_process_that_sent_nothing_has_empty_histograms(tmp_path: Path) -> None:
    rows, file = tmp_path / "requests-2.rows", tmp_path / "requests-2.hdr.jsonl"
    RowWriter(rows, Kind.REQUESTS).close()
    count_rows(rows, file, t0_ns=T0, warm_up_s=1.0, process=2)

    counted = read_counted(file, 1.0)

    assert (counted.sent, counted.measured, int(counted.lag.counts.sum())) == (0, 0, 0)
    assert math.isnan(quantiles(np.empty(0, np.int64), [counted.response]).p50_ms)
