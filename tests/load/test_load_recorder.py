"""The client's account: what is stored, and when a row is what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.load.naming import OTHER_NAMES
from harness.load.recorder import Answer, RequestRecorder
from harness.rows import Gauge, Kind, Outcome, RequestError, RowFile, RowWriter, read_rows


class StoresInOrder(RowWriter):
    """A writer that remembers the words stored after a row was published."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, Kind.REQUESTS)
        self.stored: list[int] = []

    def store(self, index: int, word: int, value: int) -> None:
        self.stored.append(word)
        super().store(index, word, value)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[StoresInOrder]:
    with StoresInOrder(tmp_path / "r.rows") as writer:
        yield writer


@pytest.fixture
def account(writer: StoresInOrder) -> Callable[[], RowFile]:
    return lambda: read_rows(writer.path)


def row_of(account: RowFile, index: int = 0) -> dict[str, Any]:
    row = account.rows[index]
    return {name: row[name].item() for name in row.dtype.names if name not in ("spare", "pad")}


def test_a_row_goes_from_open_to_ended(writer: StoresInOrder, account: Callable[[], RowFile]) -> None:
    """Published as open with its first attempt; completed with size, what became of it, and the instant, which comes last."""
    recorder = RequestRecorder(writer, ["GET /", "POST /x"])
    recorder.launched()
    index = recorder.sent(77, recorder.routes[1], due_ns=1_000, sent_ns=1_500)
    is_open = row_of(account())
    recorder.ended(index, recorder.routes[1], 2_000, Answer(Outcome.REJ, status=503, size_bytes=9))

    first = {"op": 77, "attempt": 1, "route": 2, "due_ns": 1_000, "sent_ns": 1_500}
    assert is_open == {**first, "status": 0, "outcome": Outcome.OPEN, "error": 0, "done_ns": 0, "size_bytes": 0}
    assert row_of(account()) == {**first, "status": 503, "outcome": Outcome.REJ, "error": 0, "done_ns": 2_000, "size_bytes": 9}
    assert writer.stored == [5, 1, 4]
    assert account().names == ("", "GET /", "POST /x")


def test_operations_beyond_the_room_for_names_are_counted_together_and_none_is_without_a_name(
    writer: StoresInOrder, account: Callable[[], RowFile]
) -> None:
    """250 of them: 190 under their own names, 60 as `(other names)`; a long name does not become that of another one."""
    long = [f"GET /{'x' * 70}/{end}" for end in ("first", "second")]
    recorder = RequestRecorder(writer, [*long, *(f"GET /op{number}" for number in range(248))])
    names = [account().names[route] for route in recorder.routes]

    assert (names.count(OTHER_NAMES), names.count("")) == (60, 0)
    assert len(set(names)) == 191
    assert recorder.routes[0] != recorder.routes[1]


def test_the_gauges_follow_what_is_in_flight(writer: StoresInOrder, account: Callable[[], RowFile]) -> None:
    """Sent, answered in full, in flight and shed are counted as they happen."""
    recorder = RequestRecorder(writer, ["a"])
    for op in (1, 2, 3):
        recorder.launched()
        recorder.sent(op, 1, 1, 2)
    recorder.ended(0, 1, 3, Answer(Outcome.ACK, status=200))
    recorder.ended(1, 1, 3, Answer(Outcome.IND, RequestError.RESET))
    recorder.shed(4, 1, 5, RequestError.SHED)
    recorder.cpu(99)
    gauges = account().gauges

    assert (gauges[Gauge.ACCEPTED], gauges[Gauge.STARTED], gauges[Gauge.REQUESTS_IN_FLIGHT], gauges[Gauge.REFUSED]) == (
        3,
        1,
        1,
        1,
    )
    assert gauges[Gauge.CPU] == 99


def test_what_ends_after_the_account_was_closed_stays_an_open_row(writer: StoresInOrder, account: Callable[[], RowFile]) -> None:
    """Nothing that was sent vanishes, and nothing is written behind the back of a reader of a closed file."""
    recorder = RequestRecorder(writer, ["a"])
    recorder.launched()
    index = recorder.sent(1, 1, 1, 2)
    recorder.close()
    recorder.ended(index, 1, 3, Answer(Outcome.ACK, status=200))
    recorder.cpu(1)

    assert (row_of(account())["outcome"], row_of(account())["done_ns"]) == (Outcome.OPEN, 0)
    assert account().closed_ns > 0
