"""What round trips say about another clock: bounds that hold, whatever the ways took. Pure."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from harness.load.machines.clock import Ping, Reading, Relation, read_clock, relate
from harness.load.machines.translate import translate
from harness.rows import Gauge, Kind, Outcome, RowWriter, read_rows

MS = 1_000_000
BASE = 10**15


def ping(at_ns: int, offset_ns: int, there_ns: int, back_ns: int, answer_ns: int = 20_000) -> Ping:
    received = at_ns + there_ns + offset_ns
    return Ping(at_ns, received, received + answer_ns, at_ns + there_ns + answer_ns + back_ns)


def test_the_truth_is_within_the_uncertainty_however_unequal_the_ways_are() -> None:
    """In 500 drawn cases, also with all of the delay on one of the two ways."""
    dice = random.Random(6)
    for _ in range(500):
        offset = dice.randrange(-(10**15), 10**15)
        pings = [
            ping(10**12 + n * MS, offset, dice.randrange(1, 5 * MS), dice.choice([1, dice.randrange(1, 50 * MS)]))
            for n in range(dice.randrange(1, 16))
        ]
        reading = read_clock(pings)
        assert abs(reading.offset_ns - offset) <= reading.uncertainty_ns
        assert reading.uncertainty_ns <= min(each.received_ns - each.sent_ns for each in pings)


def test_the_quickest_round_trips_count_and_slow_ones_do_no_harm() -> None:
    slow = [ping(10**12 + n * MS, 777, 30 * MS, MS) for n in range(10)]
    quick = ping(10**12 + 20 * MS, 777, 60_000, 50_000)

    reading = read_clock([*slow, quick])

    assert reading.round_trip_ns == 110_000
    assert reading.uncertainty_ns <= 55_000
    assert abs(reading.offset_ns - 777) <= 55_000


def test_a_clock_that_jumps_between_two_pings_leaves_the_quickest_one_alone() -> None:
    reading = read_clock([ping(10**12, 0, 40_000, 40_000), ping(10**12 + MS, 10**9, 30_000, 30_000)])

    assert (reading.offset_ns, reading.uncertainty_ns) == (10**9, 30_000)


def test_between_two_readings_the_offset_is_on_the_line_and_outside_it_is_that_of_the_nearest() -> None:
    relation = relate([Reading(0, 1000, 10, 20, 15), Reading(10**9, 51_000, 30, 60, 15)])

    assert [relation.offset_at(at) for at in (-5, 0, 500_000_000, 10**9, 2 * 10**9)] == [1000, 1000, 26_000, 51_000, 51_000]
    assert relation.uncertainty_ns == 30
    assert round(relation.drift_ppm, 6) == 50


def test_a_reading_amid_the_run_that_is_off_the_line_makes_the_relation_less_certain() -> None:
    calm = [Reading(0, 0, 10, 20, 15), Reading(500, 40, 50, 100, 3), Reading(1000, 0, 10, 20, 15)]
    jumped = [Reading(0, 0, 10, 20, 15), Reading(500, 4000, 50, 100, 3), Reading(1000, 0, 10, 20, 15)]

    assert relate(calm).uncertainty_ns == 10
    assert relate(jumped).uncertainty_ns == 10 + 4000 - 50


def written(path: Path, offset: int) -> None:
    with RowWriter(path, Kind.REQUESTS, label="load 1/2", segment_rows=501) as writer:
        writer.gauge(Gauge.READY, BASE + offset)
        route = writer.name("GET /")
        for number in range(1000):
            due = BASE + number * MS
            meta = 200 | Outcome.ACK << 16 | 1 << 32 | route << 40
            writer.append((number + 1, meta, due + offset, due + 5000 + offset, due + 90_000 + offset))
        writer.append((2000, Outcome.REJ << 16 | 6 << 24, BASE + offset))
        writer.append((2001, 0, BASE + offset, BASE + 7 + offset))


def test_rows_of_another_clock_come_onto_ours_keep_their_durations_and_can_be_had_back(tmp_path: Path) -> None:
    """Also with a drift; what has not happened (0) stays so; raw = stored + the row's own offset, to the nanosecond."""
    path, untouched = tmp_path / "requests-1.rows", tmp_path / "raw.rows"
    offset = -100_000 * 10**9
    written(path, offset)
    untouched.write_bytes(path.read_bytes())
    relation = Relation(BASE, BASE + 10**12, offset, offset + 50 * MS, 4321)

    said = translate(path, relation)

    raw, ours = read_rows(untouched), read_rows(path)
    assert said["rows"] == 1002
    assert ours.clock_uncertainty_ns == 4321
    assert raw.clock_uncertainty_ns == 0
    applied = ours.rows["spare"][:, 0].view(np.int64)
    assert abs(int(applied[999]) - offset - 49_950) <= 1  # 50 ppm after 999 ms
    for name in ("due_ns", "sent_ns", "done_ns"):
        theirs, here = raw.rows[name].astype(np.int64), ours.rows[name].astype(np.int64)
        assert np.array_equal(theirs == 0, here == 0)
        assert np.array_equal((here + applied)[here != 0], theirs[theirs != 0])
    service = ours.rows["done_ns"][:1000] - ours.rows["sent_ns"][:1000]
    assert np.all(service == 85_000)
    assert ours.gauges[Gauge.READY] == BASE
    assert abs(ours.created_ns + offset - raw.created_ns) <= 50 * MS
