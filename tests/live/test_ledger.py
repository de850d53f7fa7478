"""A ledger that is told what changed says what all rows say: at every instant, of any history, however often somebody looked."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.accounting import account
from harness.live.cutting import cut
from harness.live.figures import Figures, Left, edges_of, figures_at
from harness.live.folding import Folding
from harness.live.frame import Look
from harness.live.rowtail import RowTail
from harness.live.seconds import seconds_of
from harness.live.standing import is_plain
from harness.model import Evidence, Fault, Steered
from harness.rows import DropReason, Gauge, Kind, RowFile
from harness.rows.layout import GAUGE_SAMPLE
from harness.series import done_or_never, series
from harness.spans import task_spans
from tests.accounting.memory import row_file, with_task_rows
from tests.accounting.test_rowless import as_histograms
from tests.accounting.test_several_writers import spread
from tests.accounting.world import MS, START_NS, Plan, simulate
from tests.live.growing import Dropped, Followed, drops_of, files_of, known_at
from tests.live.same import differences

_END_MS = 12_000

plans = st.builds(
    Plan,
    seed=st.integers(0, 10_000),
    n_requests=st.integers(0, 60),
    gap_ms=st.sampled_from([2.0, 20.0, 150.0]),
    processes=st.integers(1, 3),
    n_tasks=st.integers(1, 3),
    pool=st.integers(1, 3),
    run_ms=st.sampled_from([3.0, 40.0, 400.0]),
    kills=st.lists(
        st.tuples(st.sampled_from(["SIGKILL", "SIGTERM", "SIGSTOP"]), st.sampled_from([30.0, 300.0, 1500.0, 3000.0])), max_size=2
    ).map(tuple),
    drain_ms=st.sampled_from([5.0, 200.0]),
    fail=st.sampled_from([0.0, 0.3]),
    stop_on_error=st.booleans(),
    cancel=st.sampled_from([0.0, 0.3]),
    discard=st.sampled_from([0.0, 0.2]),
    deny=st.sampled_from([0.0, 0.2]),
    queue_limit=st.sampled_from([None, 3]),
    unconnected=st.sampled_from([0.0, 0.2]),
    foreign=st.sampled_from([0, 3]),
    ends_alive=st.booleans(),
    warm_up_ms=st.sampled_from([0.0, 100.0]),
).map(lambda plan: dataclasses.replace(plan, n_effects=plan.n_tasks))


def with_samples(evidence: Evidence, pool: int) -> Evidence:
    """Gauges as they would have been sampled, of the boot that was there."""
    times = START_NS + np.arange(-200, _END_MS, 50, dtype=np.int64) * MS
    rows = np.zeros(len(times), GAUGE_SAMPLE)
    rows["t_ns"], rows["pool_size"] = times, pool
    for boot in evidence.boots:
        rows["boot"][times >= boot.spawned_ns] = boot.boot
    rows["server_cpu_ns"] = np.arange(len(rows)) * 7 * MS
    rows["pool_busy"] = np.arange(len(rows)) % (pool + 1)
    return dataclasses.replace(evidence, gauges=row_file(Kind.GAUGES, rows, gauges={}))


def with_pool(evidence: Evidence, how: str) -> Evidence:
    """The same with a pool whose size changes, or that endpoints use too."""
    assert evidence.gauges is not None
    samples = np.array(evidence.gauges.rows)
    later = samples["t_ns"] > START_NS + 700 * MS
    match how:
        case "resized":
            samples["pool_size"][later] += 2
            by_hand = Steered("pool", "pool=4", 4, "somebody", START_NS + 650 * MS, landed_ns=START_NS + 690 * MS)
            evidence = dataclasses.replace(evidence, steered=[by_hand])
        case "squeezed":
            receipt = {"pool_size": {"4001": 1}}
            squeeze = Fault("squeeze", 0.2, START_NS + 200 * MS, 1, effect="lasts", ended_ns=START_NS + 900 * MS, receipt=receipt)
            evidence = dataclasses.replace(evidence, faults=[*evidence.faults, squeeze])
        case "replaced":
            evidence = spread(evidence, 2, 1)
            samples["pool_size"][(samples["t_ns"] > START_NS + 300 * MS) & (samples["t_ns"] < START_NS + 600 * MS)] += 1
        case "shared":
            evidence = dataclasses.replace(
                evidence, tasks={boot: [_shared(file) for file in files] for boot, files in evidence.tasks.items()}
            )
    return dataclasses.replace(evidence, gauges=dataclasses.replace(evidence.gauges, rows=samples))


def _shared(file: RowFile) -> RowFile:
    words = list(file.gauges)
    words[Gauge.SHARED_POOL] = 1
    return dataclasses.replace(file, gauges=tuple(words))


def instants_of(evidence: Evidence) -> list[int]:
    """All at which something happened: what is told just before and just after one is what goes wrong first."""
    files = [file for _, file in files_of(evidence) if file.kind is not Kind.GAUGES]
    names = [(file, name) for file in files for name in file.rows.dtype.names or () if name.endswith("_ns")]
    found = [np.asarray(file.rows[name]).astype(np.int64) for file, name in names]
    deaths = [boot.reaped_ns for boot in evidence.boots if boot.reaped_ns is not None]
    instants = np.unique(np.concatenate([*found, np.array([START_NS, *deaths], np.int64)]))
    return [instant for instant in instants.tolist() if START_NS - MS < instant < START_NS + _END_MS * MS]


def check(
    followed: Followed, evidence: Evidence, at_ns: int, bin_s: float, told_ns: int, *, is_newest: bool = True, back_s: float = 2.0
) -> None:
    """The ledger at the instant against all rows cut at it."""
    known = known_at(followed.as_read(evidence), at_ns, told_ns)
    whole = cut(known, at_ns)
    at_s = (at_ns - START_NS) / 1e9
    look = Look(at_s - back_s, at_s + 1.0, bin_s)
    ledger, light = followed.tell(at_ns, known, look, is_newest=is_newest)
    assert is_plain(light, followed.shelf.requests, followed.shelf.works)
    edges = edges_of(START_NS, look.from_s, look.until_s, look.bin_s, at_ns)
    found = ledger.figures(cut(light, at_ns), look)
    assert list(differences(figures_at(whole, at_ns, edges), found)) == []
    assert list(differences(seconds_of(whole, account(whole), at_ns), ledger.seconds())) == []
    if is_newest:
        followed.fold(ledger, cut(light, at_ns))


def folding(young_ms: int | None) -> Folding | None:
    """Whatever can be let go, at once; None: nothing."""
    return None if young_ms is None else Folding(young_ms * MS, rows=0, listed=3)


@settings(max_examples=40, deadline=None)
@given(
    plan=plans,
    moments=st.lists(st.tuples(st.floats(0, 1), st.sampled_from([-1, 0, 1, 100_000, 30 * MS])), min_size=1, max_size=6),
    ahead_ms=st.sampled_from([0, 0, 1, 300]),
    bin_s=st.sampled_from([0.02, 0.1, 0.5, 2.0]),
    told_ms=st.sampled_from([0, 7]),
    pool=st.sampled_from(["as it was", "resized", "squeezed", "replaced", "shared"]),
    young_ms=st.sampled_from([None, 0, 100, 2_000]),
)
def test_what_is_kept_up_to_date_is_what_all_rows_say(
    plan: Plan, moments: list[tuple[float, int]], ahead_ms: int, bin_s: float, told_ms: int, pool: str, young_ms: int | None
):
    """Kills, drains, failures, refusals, several processes; files that are read ahead of the instant shown; back and forth; with
    rows let go after each look, or kept."""
    evidence = with_pool(with_samples(simulate(plan).evidence, plan.pool), pool)
    with tempfile.TemporaryDirectory() as folder:
        followed = Followed(Path(folder), evidence, folding(young_ms))
        newest, instants = 0, instants_of(evidence)
        for at_ns in [*(instants[int(share * (len(instants) - 1))] + by for share, by in moments), START_NS + _END_MS * MS]:
            if at_ns > newest:
                newest = at_ns
                followed.read(at_ns + ahead_ms * MS)
            check(followed, evidence, at_ns, bin_s, told_ms * MS, is_newest=at_ns == newest)
        followed.shelf.close()


@settings(max_examples=20, deadline=None)
@given(
    plan=plans,
    share=st.sampled_from([0.1, 0.5, 1.0]),
    every_ms=st.sampled_from([10, 70, 330, 900]),
    ahead_ms=st.sampled_from([0, 0, 100]),
    bins=st.lists(st.sampled_from([0.02, 0.1, 0.5, 2.0]), min_size=1, max_size=2),
    young_ms=st.sampled_from([None, 0, 100, 2_000]),
)
def test_a_drop_that_is_taken_back_is_as_if_it_had_never_been(
    plan: Plan, share: float, every_ms: int, ahead_ms: int, bins: list[float], young_ms: int | None
):
    """Whatever it was told to be, and whatever becomes of the task then; in the bins and seconds that are over as well."""
    evidence = with_samples(simulate(plan).evidence, plan.pool)
    drops = drops_of(evidence, share, plan.seed)
    last_ns = max([START_NS, *instants_of(evidence)]) + 2 * every_ms * MS
    with tempfile.TemporaryDirectory() as folder:
        followed = Followed(Path(folder), evidence, folding(young_ms), drops)
        for number, at_ns in enumerate(range(START_NS, last_ns, max(every_ms * MS, (last_ns - START_NS) // 60))):
            followed.read(at_ns + ahead_ms * MS)
            check(followed, evidence, at_ns, bins[number % len(bins)], 0, back_s=20.0)
        followed.shelf.close()


def taken_back(n_requests: int, every: int, after_ms: int) -> tuple[Evidence, list[Dropped]]:
    """Of a run without a queue: of each so many tasks one is dropped and taken back so much later, when it runs."""
    plan = Plan(n_requests=n_requests, gap_ms=20.0, pool=2, run_ms=3.0, n_effects=0, ends_alive=True)

    def edit(rows: np.ndarray) -> None:
        chosen = np.argsort(rows["accepted_ns"])[::every]
        for name in ("started_ns", "finished_ns"):
            rows[name][chosen] += np.uint64(after_ms * MS)

    evidence = with_task_rows(simulate(plan).evidence, 1, edit, gauges=False)
    rows = evidence.tasks[1][0].rows
    return evidence, [
        Dropped(1, 0, place, int(rows["accepted_ns"][place]) + 1, int(rows["started_ns"][place]) - 1, DropReason.DISCARDED)
        for place in np.argsort(rows["accepted_ns"])[::every].tolist()
    ]


def test_a_drop_that_is_taken_back_breaks_no_promise(tmp_path: Path):
    """The response has a background of its own, which calls the tasks by hand: they are lost only until it does."""
    evidence, drops = taken_back(200, 20, 300)
    followed, n_lost = Followed(tmp_path, evidence, drops=drops), []
    for at_ms in range(0, 5_000, 90):
        at_ns = START_NS + at_ms * MS
        followed.read(at_ns)
        check(followed, evidence, at_ns, 0.1, 0)
        ledger, light = followed.tell(at_ns, known_at(evidence, at_ns))
        figures = ledger.figures(cut(light, at_ns), Look(0.0, 5.0, 0.5))
        n_lost.append(figures.lost_discarded)
    assert max(n_lost) > 0 == n_lost[-1]
    assert (figures.finished, figures.refused, int(figures.lost.sum())) == (account(evidence).finished, 0, 0)
    assert figures.finished >= 199


def test_a_drop_that_is_taken_back_after_more_than_a_minute_has_everything_told_again(tmp_path: Path):
    """How the backlog changed is not remembered for so long."""
    evidence, drops = taken_back(40, 20, 61_500)
    followed, n_begun = Followed(tmp_path, evidence, drops=drops), []
    for at_ms in (500, 1_500, 61_000, 62_500, 63_000):
        followed.read(START_NS + at_ms * MS)
        check(followed, evidence, START_NS + at_ms * MS, 0.1, 0, back_s=70.0)
        n_begun.append(followed.n_begun)
    assert n_begun == [1, 1, 1, 2, 2]


def pictures(followed: Followed, evidence: Evidence, look: Look, until_ms: int) -> Iterator[Figures]:
    """Four a second, as a screen asks for them; what is over is let go of after each."""
    for at_ms in range(0, until_ms, 250):
        at_ns = START_NS + at_ms * MS
        followed.read(at_ns)
        ledger, light = followed.tell(at_ns, known_at(evidence, at_ns), look)
        figures = ledger.figures(cut(light, at_ns), look)
        followed.fold(ledger, cut(light, at_ns))
        yield figures


def test_drops_that_are_taken_back_do_not_have_everything_read_again(tmp_path: Path):
    """An app that does so with each of its requests can be watched for as long as any other."""
    evidence, drops = taken_back(700, 1, 300)
    followed, n_rows, finished = Followed(tmp_path, evidence, folding(1_000), drops), [], 0
    for figures in pictures(followed, evidence, Look(0.0, 15.0, 0.5), 14_000):
        n_rows.append(followed.shelf.n_rows)
        finished = figures.finished
    assert followed.n_folded > 3
    assert (followed.n_begun, followed.n_read_again) == (1, 0)
    assert max(n_rows) == max(n_rows[:20]) < 500 < finished


def test_a_ledger_is_begun_anew_only_where_the_past_has_changed(tmp_path: Path):
    """Otherwise following would be no cheaper than reading everything again."""
    plan = Plan(n_requests=100, gap_ms=20.0, kills=(("SIGKILL", 1000.0),))
    evidence = simulate(plan).evidence
    followed = Followed(tmp_path, evidence)
    for at_ms in range(0, 2000, 50):
        followed.read(START_NS + (at_ms + 100) * MS)
        check(followed, evidence, START_NS + at_ms * MS, 0.1, 0)
    # At first, when the second boot is known of (it may bring another pool), and at the death of the first one.
    assert 2 <= followed.n_begun <= 4


def test_a_pool_of_several_processes_that_has_changed_is_not_read_again_for_every_picture(tmp_path: Path):
    """Of samples that do not differ the first and the last one are kept: how many there are says nothing of how long it was."""
    plan = Plan(n_requests=300, gap_ms=20.0, pool=4, run_ms=60.0)
    evidence = with_samples(spread(simulate(plan).evidence, 2, 1), 4)
    assert evidence.gauges is not None
    samples = np.array(evidence.gauges.rows)
    samples["pool_size"][samples["t_ns"] > START_NS + 4000 * MS] = 2
    samples["pool_busy"] = 1
    evidence = dataclasses.replace(evidence, gauges=dataclasses.replace(evidence.gauges, rows=samples))
    followed = Followed(tmp_path, evidence, folding(500))
    begun = [followed.n_begun for _ in pictures(followed, evidence, Look(0.0, 10.0, 0.1), 6000)]
    assert followed.n_folded > 3
    assert begun[-1] == begun[2]


def test_what_is_written_too_late_is_noticed(tmp_path: Path):
    """A writer that was stopped between taking the time and storing it: what was told before is told again, rightly."""
    plan = Plan(n_requests=50, gap_ms=20.0)
    evidence = simulate(plan).evidence
    followed = Followed(tmp_path, evidence)
    followed.read(START_NS + 400 * MS)
    # Told as if nothing had happened in the last 200 ms, because it had not been written.
    ledger, _ = followed.tell(START_NS + 600 * MS, known_at(evidence, START_NS + 600 * MS))
    before = ledger.seconds()
    followed.read(START_NS + 700 * MS)
    check(followed, evidence, START_NS + 650 * MS, 0.1, 0)
    assert followed.n_begun == 2
    assert before is not None


@pytest.mark.parametrize(
    ("what", "is_plain_then"),
    [("nothing", True), ("twice", False), ("two ends", False), ("no reason", False), ("requeued", False)],
)
def test_rows_that_cannot_be_kept_up_to_date_are_noticed(tmp_path: Path, what: str, is_plain_then: bool):
    evidence = simulate(Plan(n_requests=20, kills=(("SIGKILL", 50.0),), requeue=what == "requeued")).evidence

    def edit(rows: np.ndarray) -> np.ndarray | None:
        match what:
            case "twice":
                return np.concatenate([rows, rows[:1]])
            case "two ends":
                rows["failed_ns"] = rows["finished_ns"]
            case "no reason":
                rows["dropped_ns"][0], rows["reason"][0] = rows["accepted_ns"][0] + 1, DropReason.NONE
        return None

    evidence = with_task_rows(evidence, 1, edit, gauges=False)
    followed = Followed(tmp_path, evidence)
    followed.read(START_NS + _END_MS * MS)
    known = known_at(evidence, START_NS + _END_MS * MS)
    assert is_plain(known, followed.shelf.requests, followed.shelf.works) is is_plain_then


def test_a_task_that_a_later_boot_has_done_is_not_lost_in_its_bin():
    """The chart says what the report says: nothing was lost, and the percentiles are those of what was done."""
    plan = Plan(n_requests=400, gap_ms=10.0, pool=2, seed=2, run_ms=30.0, requeue=True, kills=(("SIGKILL", 1500.0),))
    evidence = simulate(plan).evidence
    found, at_ns = account(evidence), evidence.load_end_ns + 60_000 * MS
    edges, spans = edges_of(START_NS, 0.0, 4.0, 0.5, at_ns), task_spans(found.tables)
    shown = figures_at(evidence, at_ns, edges, is_over=True)
    assert (found.lost, int(shown.lost.sum())) == (0, 0)
    np.testing.assert_array_equal(shown.series.done_ms, done_or_never(series(evidence, found, edges, spans), spans))


def test_a_kill_is_not_said_to_have_lost_what_a_later_boot_has_done():
    """Nobody looked at what arrived in the world: the mark at the kill says what was left, and the summary that none is lost."""
    plan = Plan(n_requests=400, gap_ms=10.0, pool=2, seed=2, run_ms=30.0, requeue=True, n_effects=0, kills=(("SIGKILL", 1500.0),))
    evidence = simulate(plan).evidence
    at_ns = evidence.load_end_ns + 60_000 * MS
    shown = figures_at(evidence, at_ns, edges_of(START_NS, 0.0, 4.0, 0.5, at_ns), is_over=True)

    assert account(evidence).lost == 0
    assert dict(shown.left) == {1: Left(24, 2, lost=0), 2: Left(0, 0, lost=0)}


@pytest.mark.parametrize("gone", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("is_lost", [False, True])
def test_what_was_lost_behind_requests_without_rows_is_what_the_summary_says(gone: tuple[int, ...], is_lost: bool):
    """They came back as histograms, or their load machine was lost: in the totals, and at the kill."""
    kills = (("SIGKILL", 1500.0),)
    evidence = simulate(Plan(n_requests=300, gap_ms=10.0, pool=2, seed=2, run_ms=40.0, processes=2, kills=kills)).evidence
    rest = [file for number, file in enumerate(evidence.requests) if number not in gone]
    lost_machine = dataclasses.replace(evidence, requests=rest, lost_rows_of=frozenset(gone), n_load_processes=2)
    known = lost_machine if is_lost else as_histograms(evidence, gone)
    found, at_ns = account(known), known.load_end_ns + 60_000 * MS
    shown = figures_at(known, at_ns, edges_of(START_NS, 0.0, 4.0, 0.5, at_ns), is_over=True)

    assert (found.lost_queued, found.lost_running) == (61, 2)
    assert (shown.lost_queued, shown.lost_running) == (61, 2)
    assert shown.left[1] == Left(61, 2, lost=63)


def test_a_ledger_that_knows_no_requests_of_a_lost_load_machine_is_not_asked(tmp_path: Path):
    evidence = simulate(Plan(n_requests=20)).evidence
    followed = Followed(tmp_path, evidence)
    followed.read(START_NS + _END_MS * MS)
    known = known_at(evidence, START_NS + _END_MS * MS)
    lost_machine = dataclasses.replace(known, lost_rows_of=frozenset({1}))

    assert is_plain(known, followed.shelf.requests, followed.shelf.works)
    assert not is_plain(lost_machine, followed.shelf.requests, followed.shelf.works)


@pytest.mark.parametrize(("is_done", "n_lost"), [(False, 26), (True, 2)])
def test_a_task_that_is_twice_in_one_boot_is_lost_once_and_by_its_last_row(is_done: bool, n_lost: int):
    """Its request was sent again to the same boot: the chart says what the report says."""
    plan = Plan(n_requests=400, gap_ms=10.0, pool=2, seed=2, run_ms=30.0, n_effects=0, kills=(("SIGKILL", 1500.0),))

    def again(rows: np.ndarray) -> np.ndarray:
        later = rows[(rows["started_ns"] == 0) & (rows["dropped_ns"] == 0)].copy()
        assert len(later) == 24
        later["accepted_ns"] += 1000
        if is_done:
            later["started_ns"], later["failed_ns"] = later["accepted_ns"] + 1000, later["accepted_ns"] + 2000
        return np.concatenate([rows, later])

    evidence = with_task_rows(simulate(plan).evidence, 1, again)
    found, at_ns = account(evidence), evidence.load_end_ns + 60_000 * MS
    edges, spans = edges_of(START_NS, 0.0, 4.0, 0.5, at_ns), task_spans(found.tables)
    shown = figures_at(evidence, at_ns, edges, is_over=True)

    assert (found.lost, int(spans.is_left.sum()), int(shown.lost.sum())) == (n_lost,) * 3
    np.testing.assert_array_equal(shown.series.done_ms, done_or_never(series(evidence, found, edges, spans), spans))


def test_a_row_that_is_read_before_its_reason_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The app cancelled the task: the reason is stored before the instant, and a reader may still see the instant alone."""
    plan = Plan(n_requests=60, gap_ms=20.0, cancel=0.5)
    evidence = simulate(plan).evidence
    read_new = RowTail.read_new

    def torn(self: RowTail) -> tuple[np.ndarray, np.ndarray]:
        places, rows = read_new(self)
        if self.kind is Kind.TASKS:
            rows["reason"][rows["failed_ns"] != 0] = 0
        return places, rows

    monkeypatch.setattr(RowTail, "read_new", torn)
    followed = Followed(tmp_path, evidence)
    followed.read(START_NS + _END_MS * MS)
    check(followed, evidence, START_NS + _END_MS * MS, 0.1, 0)
    assert account(evidence).cancelled_running > 5


def test_a_run_cut_at_its_end_is_the_run(tmp_path: Path):
    plan = Plan(n_requests=80, kills=(("SIGTERM", 200.0),), fail=0.2, n_tasks=2, n_effects=2)
    evidence = simulate(plan).evidence
    whole, found = account(evidence), account(cut(evidence, START_NS + 10**15))
    assert list(differences(whole, found)) == []


def test_a_pool_that_grew_had_its_size_of_then(tmp_path: Path):
    """In a run that is played back the page shows the size that it had at the end."""
    evidence = with_samples(simulate(Plan(n_requests=20, ends_alive=True, pool=2)).evidence, 2)
    assert evidence.gauges is not None
    samples = np.array(evidence.gauges.rows)
    samples["pool_size"][samples["t_ns"] > START_NS + 1000 * MS] = 9
    words = list(evidence.tasks[1][0].gauges)
    words[Gauge.POOL_SIZE] = 9
    grown = dataclasses.replace(
        evidence,
        gauges=dataclasses.replace(evidence.gauges, rows=samples),
        tasks={1: [dataclasses.replace(evidence.tasks[1][0], gauges=tuple(words))]},
    )
    sizes = [cut(grown, START_NS + at_ms * MS).tasks[1][0].gauges[Gauge.POOL_SIZE] for at_ms in (500, 1500)]
    assert sizes == [2, 9]
