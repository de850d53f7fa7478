"""What the live screen shows, as pure functions of frames and sizes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.panels import charts, tiles
from dashboard.panels.arrange import Layout, Panel, Wanted, arrange
from dashboard.panels.aside import aside_lines
from dashboard.panels.lines import plain, width_of
from dashboard.panels.status import Watch, status_line
from dashboard.panels.steering import change, why_not
from dashboard.panels.tasklines import status_tabs
from dashboard.panels.texts import event_lines, headline, log_lines, slider_instant, slider_line, tiny_lines
from dashboard.panels.view import SPANS_S, View
from dashboard.panels.words import clock, elided, ladder_step, ms
from dashboard.raster.tile import Tone
from harness.control import SetPool, SetRate, SetTasks, SetUsers
from harness.live.frame import Look, Mark, MarkKind, Outage, Phase, Setting, Side, SideState, TaskStatus
from harness.summary import build_summary
from harness.wording import duration_ms
from tests.accounting.cases import CASES
from tests.dashboard.frames import frame_of, with_newest

LOOK = Look(0.0, 120.0, 1.0)
SIZES = st.tuples(st.integers(1, 260), st.integers(1, 90))
WANTED = st.builds(
    Wanted,
    layout=st.sampled_from(list(Layout)),
    heat_on_top=st.booleans(),
    log=st.booleans(),
    drawer=st.sampled_from([None, True, False]),
    only=st.sampled_from([None, Panel.SCISSORS, Panel.BACKLOG, Panel.HEAT, Panel.POOL, Panel.LOG]),
    slider=st.booleans(),
)


@pytest.fixture(scope="module")
def frame(scissors):
    return frame_of(scissors, LOOK, 118.0)


# Room.


@given(SIZES, WANTED)
@settings(max_examples=400, deadline=None)
def test_the_panels_fill_a_terminal_of_any_size_exactly(size, wanted):
    """Nothing scrolls, nothing is cut off, no row is left free; smaller than 60x18 there are only lines of text."""
    width, height = size
    found = arrange(width, height, wanted)
    if width < 60 or height < 18:
        assert found.is_tiny
        return
    assert sum(found.rows.values()) == height - 2  # the status bar and the keys
    assert min(found.rows.values()) >= 1
    assert width - found.aside_columns >= 29


@pytest.mark.parametrize(("width", "height"), [(60, 18), (80, 24), (120, 36), (200, 60)])
def test_the_four_sizes_show_both_verdicts_both_charts_and_the_events(width, height):
    rows = arrange(width, height, Wanted()).rows
    assert {Panel.TILES, Panel.SCISSORS, Panel.BACKLOG, Panel.LANE, Panel.RULER} <= rows.keys()
    assert rows[Panel.TILES] == 4
    assert min(rows[Panel.SCISSORS], rows[Panel.BACKLOG]) >= 4


def test_larger_terminals_show_more():
    """The heat map from 120x36 on; both of them, the pool and the log at 200x60."""
    assert Panel.HEAT not in arrange(80, 24, Wanted()).rows
    assert Panel.HEAT in arrange(120, 36, Wanted()).rows
    assert {Panel.HEAT, Panel.DONE_HEAT, Panel.POOL, Panel.LOG} <= arrange(200, 60, Wanted()).rows.keys()
    assert [arrange(width, 36, Wanted()).aside_columns > 0 for width in (80, 120)] == [False, True]
    assert [arrange(width, 36, Wanted()).n_tiles for width in (80, 120)] == [2, 4]


def test_one_panel_takes_the_room_of_all(frame):
    rows = arrange(120, 36, Wanted(only=Panel.BACKLOG)).rows
    assert rows[Panel.BACKLOG] > 20
    assert Panel.SCISSORS not in rows


# Time.


def test_the_window_fills_from_the_left_and_then_rolls(scissors):
    view = View(columns=80)
    early, late = frame_of(scissors, LOOK, 10.0), frame_of(scissors, LOOK, 118.0)
    assert view.window(early).from_s == 0.0
    assert view.window(early).until_s >= 110
    assert view.closer(late).window(late).until_s == pytest.approx(118.0, abs=2)
    assert view.closer(late).window(late).from_s > 50


def test_closer_and_farther_go_through_the_same_spans_to_the_whole_run(frame):
    view, seen = View(columns=80), []
    for _ in range(20):
        view = view.farther(frame)
        seen.append(view.is_whole)
    assert seen[-1]
    for _ in range(20):
        view = view.closer(frame)
    assert view.length_s(frame) == SPANS_S[0]
    assert not view.is_whole


def test_whole_run_and_back_is_where_one_was(frame):
    view = View(columns=80, span_s=30.0)
    whole = view.whole_or_back()
    assert whole.window(frame).from_s == 0.0
    assert whole.window(frame).until_s >= frame.newest_s
    assert whole.whole_or_back().window(frame) == view.window(frame)


def test_a_run_that_is_over_is_shown_as_a_whole_and_fits(frame):
    """Nothing is left free on the right, and it can still be looked at closer."""
    over = View(columns=80, is_replay=True)
    assert (over.window(frame).from_s, over.window(frame).until_s) == (0.0, 118.0)
    assert over.closer(frame).window(frame).from_s > 0.0
    assert over.closer(frame).whole_or_back().window(frame).until_s == 118.0


def test_freezing_keeps_the_instant_while_the_run_goes_on(scissors, frame):
    view = View(columns=80).held(frame)
    assert view.at_s == 118.0
    later = frame_of(scissors, LOOK, 119.9)
    assert view.look(later).at_s == 118.0
    assert view.held(later).at_s is None  # the same key again


def test_a_step_beyond_the_newest_instant_is_live_again(frame):
    view = View(columns=80).held(frame).stepped(-1, frame)
    assert view.at_s is not None
    assert view.at_s < 118.0
    for _ in range(10):
        view = view.stepped(1, frame)
    assert view.at_s is None


def test_events_are_gone_to_one_after_another(frame):
    view, seen = View(columns=80, at_s=0.0), []
    for _ in range(4):
        view = view.to_event(True, frame.marks, frame)
        seen.append(view.at_s)
    assert seen == [2.0, 74.0, 83.0, 100.0]
    assert view.to_event(False, frame.marks, frame).at_s == 83.0
    assert View(columns=80, at_s=1.0).to_event(False, (), frame).at_s == 0.0


def test_an_event_is_gone_to_where_it_is_seen_and_not_where_nobody_knew_of_it_yet(frame):
    """A SIGTERM at 20 s whose server is dead at 23 s: before, the picture would say that nothing has happened."""
    marks = (*frame.marks, Mark(20.0, MarkKind.FAULT, "TERM -3", "SIGTERM", known_s=23.0))
    assert View(columns=80, at_s=2.0).to_event(True, marks, frame).at_s == 23.0
    assert View(columns=80, at_s=23.0).to_event(True, marks, frame).at_s == 74.0
    assert View(columns=80, at_s=74.0).to_event(False, marks, frame).at_s == 23.0
    assert View(columns=80, at_s=23.0).to_event(False, marks, frame).at_s == 2.0


@given(
    columns=st.integers(1, 250),
    span_s=st.one_of(st.none(), st.sampled_from(SPANS_S)),
    is_whole=st.booleans(),
    at_s=st.one_of(st.none(), st.floats(-10, 500)),
    is_replay=st.booleans(),
    newest_s=st.floats(-5, 100_000),
)
@settings(max_examples=300, deadline=None)
def test_a_look_is_sound_whatever_is_looked_at(columns, span_s, is_whole, at_s, is_replay, newest_s):
    """It has bins, not too many, that cover the window; and a bin is no shorter than half a second."""
    view = View(columns, span_s, is_whole, at_s, is_replay)
    frame = replace(_A_FRAME, newest_s=newest_s, at_s=newest_s)
    look, window = view.look(frame), view.window(frame)
    assert look.bin_s >= 0.5 - 1e-6
    assert look.until_s > look.from_s >= 0
    assert look.from_s <= window.from_s + 1e-6
    assert look.until_s >= window.until_s - 1e-6
    assert (look.until_s - look.from_s) / look.bin_s <= 2 * columns + 3


# Charts.


def test_done_is_drawn_only_where_it_is_known(frame):
    """Before the kill: values. Shortly before it: lost, never. At the end: not known yet, so at least as old as the oldest."""
    known = charts.done_p95_ms(frame)
    assert np.isfinite(known[5:60]).all()
    assert np.isinf(known[69:74]).all()
    assert np.isnan(known[112:]).all()
    least = charts.at_least_ms(frame, known)
    assert np.isfinite(least[112:117]).all()
    assert np.isnan(least[5:60]).all()


def test_survivors_do_not_make_the_work_look_fast(frame):
    """Just before the kill only short tasks finished: their p95 is lower than before, and is not drawn."""
    finished = frame.series.done_ms[1]
    known = charts.done_p95_ms(frame)
    biased = finished < np.nanmax(finished[40:66]) * 0.95
    assert not (np.isfinite(known) & biased)[66:74].any()


def test_the_hidden_wait_is_how_many_times_longer_the_work_takes(frame, healthy):
    assert charts.hidden_wait(frame) > 100
    assert charts.hidden_wait(frame_of(healthy, LOOK, 50.0)) < 60


def test_the_hidden_wait_of_a_run_that_is_over_does_not_depend_on_the_size_of_the_terminal(scissors):
    """It is that of the whole run, as in the report."""
    over = build_summary(CASES["killed"](), {}, {})
    wide, narrow = (replace(frame_of(scissors, replace(LOOK, bin_s=bin_s), 118.0), summary=over) for bin_s in (1.0, 4.0))
    expected = wide.totals.done_p95_ms / wide.totals.response_p95_ms
    assert charts.hidden_wait(wide) == charts.hidden_wait(narrow) == expected
    assert charts.hidden_wait(replace(wide, summary=None)) != charts.hidden_wait(replace(narrow, summary=None))
    # Where so many were never answered that all of them have no p95, the bins that have one still say it, and are shaded.
    unanswered = replace(wide, totals=replace(wide.totals, response_p95_ms=math.inf))
    assert charts.hidden_wait(unanswered) == charts.hidden_wait(replace(wide, summary=None)) > 1.5
    assert charts.scissors(unanswered, View(columns=80).window(unanswered)).band is not None


def test_a_server_that_is_not_seen_has_gaps_and_never_zeros(frame):
    unseen = replace(frame, about=replace(frame.about, has_server_witness=False))
    window = View(columns=80).window(unseen)
    assert np.isnan(charts.backlog(unseen, window).curves[0].values).all()
    assert "not seen" in charts.backlog(unseen, window).title
    assert np.isnan(charts.scissors(unseen, window).curves[1].values).all()
    assert tiles.lost(unseen).headline == "–"


def test_nothing_is_drawn_of_what_is_later_than_the_instant_shown(scissors):
    frame = frame_of(scissors, replace(LOOK, at_s=60.0), 118.0)
    backlog = charts.backlog(frame, View(columns=80, at_s=60.0).window(frame)).curves[0].values
    assert len(backlog) <= 60 or np.isnan(backlog[61:]).all()


def test_an_outage_that_lasts_ends_where_the_picture_ends(scissors):
    frame = frame_of(scissors, replace(LOOK, at_s=78.0), 118.0)
    assert charts.scissors(frame, View(columns=80, at_s=78.0).window(frame)).outages == (Outage(74.0, 78.0, 74.0),)


def test_the_heat_map_of_done_tells_what_was_lost(frame):
    made = charts.done_heat(frame, View(columns=80).window(frame))
    assert made.never.sum() == frame.totals.lost_queued + frame.totals.lost_running


def test_the_pool_at_its_limit_is_told_apart_in_the_backlog(frame, healthy):
    view = View(columns=80)
    assert charts.backlog(frame, view.window(frame)).stressed.any()
    well = frame_of(healthy, LOOK, 50.0)
    assert not charts.backlog(well, view.window(well)).stressed.any()


def with_samples(frame, *, kind, lag_ms=0.4, busy=1.0):
    """Of a pool of four, in all bins; `kind` is that of the tasks by now."""
    n = len(frame.series.due)
    sampled = replace(
        frame.series.sampled,
        loop_lag_max_ms=np.full(n, lag_ms),
        pool_busy_max=np.full(n, busy),
        pool_size=np.full(n, 4.0),
    )
    settings = () if kind is None else (Setting("tasks", kind),)
    return with_newest(replace(frame, series=replace(frame.series, sampled=sampled)), settings=settings)


@pytest.mark.parametrize(
    ("kind", "lag_ms", "busy", "word"),
    [
        ("sync", 0.4, 4.0, "pool saturated"),
        ("sync", 250.0, 1.0, "event loop late"),
        (None, 250.0, 4.0, "pool saturated or event loop late"),
        ("async", 0.4, 4.0, ""),
        ("async", 250.0, 4.0, "event loop late"),
    ],
)
def test_what_is_at_its_limit_is_told_by_the_kind_of_tasks_that_there_is_now(frame, kind, lag_ms, busy, word):
    """An app of one's own has threads and a loop; tasks on the loop do not care for threads; the kind may have been changed."""
    found = with_samples(replace(frame, about=replace(frame.about, tasks=None)), kind=kind, lag_ms=lag_ms, busy=busy)
    for chart in (charts.backlog(found, View(columns=80).window(found)), charts.pool(found, View(columns=80).window(found))):
        assert (chart.stressed_label, bool(chart.stressed.any())) == (word, bool(word))
    assert ("event loop late 250 ms" in charts.read_out(found, 30.0)) == (lag_ms == 250.0)


def test_when_something_went_wrong_stands_on_the_axis(frame):
    """Refusals during the outage, and nothing of what is later than the instant shown."""
    at = replace(frame, series=replace(frame.series, failed=(frame.series.edges_ns[:-1] == 30_000_000_000).astype(np.int64)))
    window = View(columns=80).window(at)
    bad = charts.scissors(at, window).bad
    assert set(at.series.edges_ns[:-1][bad] // 1_000_000_000) <= set(range(74, 83))
    assert bad.sum() == np.count_nonzero(at.series.rejected + at.series.indeterminate) > 4
    assert charts.backlog(at, window).bad.sum() == 1
    assert "tasks failed 1" in charts.read_out(at, 30.2)
    assert "refused" in charts.read_out(at, 78.0)


def test_the_rate_of_a_bin_that_is_not_over_is_that_of_the_time_that_it_has_lasted(healthy):
    for at_s in (50.3, 50.6, 50.9):
        frame = frame_of(healthy, replace(LOOK, at_s=at_s), 118.0)
        rate = int(charts.read_out(frame, at_s - 0.01).partition(" requests/s")[0].split()[-1])
        assert abs(rate - 50) <= 10
    assert "requests/s" not in charts.read_out(frame_of(healthy, replace(LOOK, at_s=50.1), 118.0), 50.05)


def test_the_read_out_says_what_there_was(frame):
    assert "done" in charts.read_out(frame, 30.0)
    assert "never" in charts.read_out(frame, 71.0)
    assert "at least" in charts.read_out(frame, 116.0)
    assert charts.read_out(frame, 500.0) == ""


# Words.


@given(st.integers(0, 260))
@settings(max_examples=100, deadline=None)
def test_no_line_is_wider_than_its_panel(width):
    frame = _A_FRAME
    lines = [
        status_line(frame, Watch(has_tiles=False, is_held=True, ui_share=0.08, note="read only"), width),
        headline(frame, width),
        slider_line(frame, frame.marks, 60.0, width, playing=2.0),
        *event_lines(frame, 4, width),
        *log_lines(frame, 8, width),
        *tiny_lines(frame, width, 12),
        *aside_lines(frame, width, 40, can_steer=True),
    ]
    assert all(width_of(one) <= max(width, 0) for one in lines)


def test_the_figures_are_written_as_in_the_summary(frame):
    aside = "\n".join(plain(one) for one in aside_lines(frame, 40, 60, can_steer=True))
    assert duration_ms(frame.totals.response_p50_ms) in aside
    assert f"{frame.totals.finished:,}" in aside
    assert ms(None) == "–"
    assert ms(float("inf")) == "never"


def test_what_nobody_saw_is_a_dash(frame):
    none = dict.fromkeys(
        ("offered_per_s", "accepted_per_s", "finished_per_s", "backlog", "busy", "oldest_queued_s", "drain_s", "pool_size")
    )
    blind = replace(frame, now=replace(frame.now, **none))
    text = "\n".join(plain(one) for one in aside_lines(blind, 40, 60, can_steer=True))
    assert text.count("–") >= 7


def test_what_a_server_that_was_not_seen_did_is_a_dash_and_never_zero(frame):
    about, nothing = replace(frame.about, has_server_witness=False), dict.fromkeys(("finished", "failed", "backlog_max"), 0)
    unseen = replace(frame, about=about, totals=replace(frame.totals, **nothing))
    aside = " ".join(" ".join(plain(one) for one in aside_lines(unseen, 40, 60, can_steer=True)).split())
    assert "SO FAR" in aside
    assert "finished – failed, skipped –, – most queued –" in aside
    tiny = "\n".join(plain(one) for one in tiny_lines(unseen, 40, 12))
    assert "lost –" in tiny
    assert "finished –" in tiny
    assert plain(status_tabs(TaskStatus.QUEUED, {}, 120)).count("–") == len(TaskStatus)
    assert "queued" not in charts.read_out(unseen, 30.0)


@pytest.mark.parametrize("phase", [Phase.JUDGE, Phase.ENDED, Phase.CRASHED])
def test_of_a_run_that_is_over_no_rates_of_its_last_seconds_are_told(frame, phase):
    tiny = tiny_lines(replace(frame, phase=phase), 40, 12)
    assert not [plain(one) for one in tiny if "/s" in plain(one)]
    assert [plain(one) for one in tiny_lines(frame, 40, 12) if "/s" in plain(one)]


def test_a_pending_change_is_shown_beside_what_is(frame):
    changed = replace(frame, settings=(Setting("rate", 120.0, 180.0), Setting("pool", 40)))
    text = "\n".join(plain(one) for one in aside_lines(changed, 32, 40, can_steer=True))
    assert "◂ 120→180 ▸" in text


def test_the_status_keeps_what_matters_where_it_is_narrow(frame):
    shown = plain(status_line(frame, Watch(is_held=True, has_tiles=False), 60))
    assert "email" in shown
    assert "UP" in shown
    assert "behind" in shown
    wide = plain(status_line(replace(frame, newest_s=130.0), Watch(is_held=True, ui_share=0.08), 160))
    assert "frozen, 12 s behind" in wide
    assert "ui 8 %" in wide
    assert "01:58 / 02:00" in wide


@pytest.mark.parametrize(
    ("phase", "words"),
    [(Phase.DRAIN, "draining"), (Phase.CRASHED, "CRASHED"), (Phase.JUDGE, "judging"), (Phase.START, "starting")],
)
def test_the_status_says_where_the_run_is(frame, phase, words):
    at = replace(frame, phase=phase, at_s=0.0 if phase is Phase.START else frame.at_s)
    assert words in plain(status_line(at, Watch(), 200))


def test_the_headline_is_the_worst_finding_or_else_why_the_tiles_say_so(frame):
    assert "SIGKILL" in plain(headline(frame, 120))
    quiet = replace(frame, findings=(), work=Side(SideState.OK, "OK", (), "fine"), client=Side(SideState.OK, "OK", (), "Quick."))
    assert "Quick." in plain(headline(quiet, 120))
    slow = replace(quiet, work=Side(SideState.BEHIND, "BEHIND", (), "More comes than is done."))
    assert "More comes" in plain(headline(slow, 120))


def test_a_small_terminal_gets_a_line_for_each_figure_and_is_told_what_is_missing(frame):
    text = [plain(one) for one in tiny_lines(frame, 40, 12)]
    assert len(text) == 12
    assert text[-1] == "enlarge to 60x18"
    assert any(one.startswith("response p95") for one in text)
    assert any(one.startswith("lost 314") for one in text)


def test_the_bad_sides_stand_out_by_tone(frame):
    assert tiles.work(frame).tone is Tone.BAD
    assert tiles.client(frame).tone is Tone.GOOD
    assert tiles.lost(frame).tone is Tone.BAD
    assert tiles.pool(frame).headline == "SATURATED"


def test_a_click_on_the_slider_is_the_instant_that_it_shows(frame):
    for at_s in (0.0, 31.0, 118.0):
        column = next(
            start
            for start in range(80)
            if (found := slider_instant(frame, start, at_s, 80, playing=0.0)) is not None and found >= at_s - 1
        )
        text = plain(slider_line(frame, (), at_s, 80, playing=0.0))
        assert abs(text.index("●") - column) <= 1
    assert slider_instant(frame, 0, 10.0, 80, playing=0.0) is None


def test_clocks_and_cut_texts():
    assert [clock(74.24), clock(74.24, tenths=True), clock(3734), clock(-3)] == ["01:14", "01:14.2", "1:02:14", "-00:03"]
    assert clock(59.96, tenths=True) == "00:59.9"
    assert elided("abcdef", 4) == "abc…"
    assert elided("abc", 4) == "abc"
    assert elided("abc", 0) == ""


# Steering.


@given(st.floats(0, 90_000), st.booleans(), st.booleans())
def test_a_step_on_the_ladder_goes_the_right_way(value, up, whole):
    value = float(max(round(value), 1)) if whole else value
    after = ladder_step(value, up, whole=whole)
    assert after > value if up else after <= value
    assert after >= (1 if whole else 0)


def test_steps_up_and_down_again_meet_round_values():
    assert [ladder_step(120, True), ladder_step(120, False), ladder_step(0, True)] == [150, 100, 1]
    assert [ladder_step(1, False, whole=True), ladder_step(8, True, whole=True)] == [1, 10]
    assert ladder_step(0.1, False) < 0.1


def test_a_key_changes_what_is_pending_rather_than_what_is(frame):
    """Three quick presses go three steps."""
    changed = with_newest(frame, settings=(Setting("rate", 120.0, 150.0), Setting("pool", 40), Setting("tasks", "sync", "async")))
    assert change(changed, "load", more=True) == SetRate(200.0)
    assert change(changed, "pool", more=False) == SetPool(30)
    assert change(changed, "tasks", more=True) == SetTasks("blocking")
    users = with_newest(frame, settings=(Setting("users", 10.0),))
    assert change(users, "load", more=True) == SetUsers(12)
    assert change(users, "pool", more=True) is None


def test_a_key_that_cannot_work_says_why(frame):
    assert why_not("steer('pool', True)", frame, "") == ""
    assert why_not("steer('pool', True)", frame, "read only") == "read only"
    assert why_not("hold", frame, "read only") == ""
    assert "over" in why_not("app.kill", with_newest(frame, phase=Phase.ENDED), "")
    assert "none" in why_not("steer('pool', True)", with_newest(frame, settings=()), "")
    assert "scenarios" in why_not("steer('tasks', True)", with_newest(frame, settings=()), "")
    assert "over" in why_not("steer('load', True)", with_newest(frame, phase=Phase.DRAIN), "")


def _a_frame():
    from tests.dashboard.simulation import SCISSORS, simulate

    return frame_of(simulate(SCISSORS), LOOK, 118.0)


_A_FRAME = _a_frame()
