"""The soak (tests/soak.py), short: that it runs, and that the accounts agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.soak import Sample, compare, judge, soak
from tests.soak_clients import Account, Outcome


def test_after_ten_seconds_of_everything_all_accounts_agree(tmp_path: Path):
    """Every answered request has its tasks, no refused one has any, nothing is left open."""
    verdict = soak(tmp_path, seconds=10, rate=300, every_s=1)
    print(verdict)
    assert verdict.wrong == ()
    assert {"200", "404", "422", "gone", "refused", "web sockets"} <= verdict.seen.keys()


class _Rows:
    """A server with these rows and gauges that agree with them."""

    def __init__(self, *ops: int, failed: int = 0) -> None:
        instants = ["flushed_ns", "started_ns", "finished_ns", "failed_ns", "dropped_ns"]
        self.rows = np.zeros(len(ops), [("op", "u8"), *((name, "u8") for name in instants)])
        self.rows["op"] = ops
        self.rows["flushed_ns"], self.rows["started_ns"], self.rows["finished_ns"] = 1, 2, 3
        self.rows[:failed]["finished_ns"], self.rows[:failed]["failed_ns"] = 0, 3
        self._failed = failed

    def file(self) -> _Rows:
        return self

    def gauge(self, gauge: int) -> int:
        return self._failed if gauge == 8 else len(self.rows)


def _account(*outcomes: Outcome) -> Account:
    account = Account()
    for outcome in outcomes:
        account.outcomes[account.open(2, 1)] = outcome
    return account


@pytest.mark.parametrize(
    ("rows", "outcome", "complaint"),
    [
        (_Rows(1, 1, failed=1), Outcome.ACKNOWLEDGED, None),
        (_Rows(1, 1, failed=1), Outcome.UNKNOWN, None),
        (_Rows(), Outcome.UNKNOWN, None),
        (_Rows(), Outcome.ACKNOWLEDGED, "1 answered requests lack tasks"),
        (_Rows(1, failed=1), Outcome.UNKNOWN, "1 requests without an answer have a part of their tasks"),
        (_Rows(1, 1, failed=1), Outcome.REFUSED, "1 refused requests have tasks"),
        (_Rows(1, 1), Outcome.ACKNOWLEDGED, "1 requests have other tasks that failed"),
        (_Rows(1, 1, 7, failed=1), Outcome.ACKNOWLEDGED, "tasks of requests that nobody made"),
    ],
)
def test_what_disagrees_is_said(rows: _Rows, outcome: Outcome, complaint: str | None):
    """A soak that finds nothing has looked."""
    n_tasks, wrong = compare(rows, _account(outcome))  # type: ignore[arg-type]
    assert n_tasks == len(rows.rows)
    assert wrong == ([complaint] if complaint else [])


def test_memory_that_grows_is_said():
    """And memory that grows in the warm-up alone is not."""
    flat = [Sample(at, 50_000_000 + min(at, 20) * 1_000_000, 20, 50, 0) for at in range(100)]
    growing = [Sample(at, 50_000_000 + at * 200_000, 20, 50, 0) for at in range(100)]
    assert judge(flat) == []
    assert judge(growing) == ["memory grew from 55.9 to 67.7 MB after the warm-up"]
