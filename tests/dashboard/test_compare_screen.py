"""Two runs beside each other."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from dashboard.panels.lines import plain
from dashboard.panels.pairing import Delta, delta_lines, deltas, sentence
from dashboard.panels.textpanel import TextPanel
from dashboard.screens.compare import CompareScreen
from dashboard.widgets import HeatMapView, TimeChart
from harness.compare.record import FigureRecord
from harness.live.frame import NOT_KNOWN, Look, Phase
from tests.dashboard.frames import frame_of
from tests.dashboard.stage import Stage

LOOK = Look(0.0, 120.0, 1.0)


@asynccontextmanager
async def showing(*runs, size=(120, 36), newest_s=125.0, **options):
    app = Stage(CompareScreen, runs, newest_s=newest_s, **options)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        app.tick()
        await pilot.pause()
        yield app, pilot


async def press(app, pilot, *keys):
    for key in keys:
        await pilot.press(key)
        app.tick()
        await pilot.pause()


def text_of(app, name):
    return "\n".join(plain(one) for one in app.screen.query_one(f"#{name}", TextPanel).lines)


def chart(app, name):
    return app.screen.query_one(f"#{name}", TimeChart).data


@pytest.mark.anyio
async def test_both_runs_have_the_same_scales_and_begin_together(scissors, healthy):
    """One lasts 120 s and falls behind, the other 60 s and does not: axes of time, durations, backlog and colours are equal."""
    async with showing(scissors, healthy) as (app, _):
        for panel in ("durations", "backlog"):
            a, b = chart(app, f"a-{panel}"), chart(app, f"b-{panel}")
            assert (a.low, a.high) == (b.low, b.high)
            assert a.window == b.window
            assert a.window.from_s == 0.0
        a, b = (app.screen.query_one(f"#{side}-heat", HeatMapView) for side in "ab")
        assert (a.data.low_ms, a.data.high_ms, a.data.most) == (b.data.low_ms, b.data.high_ms, b.data.most)
        assert a.size == b.size
        assert app.frames[1].at_s == 65.0  # its end


@pytest.mark.anyio
async def test_what_differs_stands_below(scissors, healthy):
    async with showing(scissors, healthy) as (app, _):
        text = text_of(app, "delta")
        assert "lost" in text
        assert "better" in text
        assert "done p95" in text


@pytest.mark.anyio
@pytest.mark.parametrize("size", [(60, 18), (80, 24)])
async def test_where_it_is_narrow_one_run_stands_above_the_other(scissors, healthy, size):
    """And tab goes through durations, backlog and heat maps."""
    async with showing(scissors, healthy, size=size) as (app, pilot):
        seen = []
        for _ in range(3):
            shown = [
                each.id
                for each in app.screen.query(".side > *")
                if each.display and each.id.endswith(("durations", "backlog", "heat"))
            ]
            a, b = (app.screen.query_one(f"#{name}") for name in shown)
            assert a.size == b.size
            assert a.region.bottom <= b.region.y
            assert a.region.x == b.region.x
            seen.append(shown[0])
            await press(app, pilot, "tab")
        assert seen == ["a-durations", "a-backlog", "a-heat"]
        assert "response p95" in text_of(app, "delta")


@pytest.mark.anyio
async def test_time_moves_for_both(scissors, healthy):
    async with showing(scissors, healthy) as (app, pilot):
        await press(app, pilot, "less_than_sign", "less_than_sign", "less_than_sign")
        assert app.frames[0].at_s == 83.0
        assert app.frames[1].at_s == 65.0
        await press(app, pilot, "less_than_sign", "comma")
        assert app.frames[0].at_s < 74.0
        await press(app, pilot, "greater_than_sign", "full_stop", "end")
        assert app.frames[0].at_s == 125.0
        spans = []
        for key in ("plus", "plus", "minus", "equals_sign"):
            await press(app, pilot, key)
            window = chart(app, "a-durations").window
            spans.append(window.until_s - window.from_s)
        assert spans[1] < min(spans[2], spans[3])
        await pilot.click("#a-backlog", offset=(20, 2))
        await pilot.pause()
        assert app.frames[0].at_s < 125.0


@pytest.mark.anyio
async def test_heat_maps_come_and_go(scissors, healthy):
    async with showing(scissors, healthy) as (app, pilot):
        assert app.screen.query_one("#a-heat").display
        await press(app, pilot, "i")
        assert app.screen.query_one("#b-heat", HeatMapView).data.intensity
        await press(app, pilot, "h")
        assert not app.screen.query_one("#a-heat").display
        await press(app, pilot, "i")
        assert "No heat map is shown" in text_of(app, "keys")
        await press(app, pilot, "h", "tab", "f", "escape")


@pytest.mark.anyio
async def test_one_run_alone_waits_for_the_other(scissors):
    async with showing(scissors) as (app, _):
        assert "waiting" in text_of(app, "b-title")


@pytest.mark.anyio
async def test_it_survives_every_size(scissors, healthy):
    async with showing(scissors, healthy) as (app, pilot):
        for size in ((1, 1), (59, 17), (60, 18), (99, 20), (100, 20), (250, 80), (100, 22), (3, 70), (230, 2), (120, 36)):
            await pilot.resize_terminal(*size)
            app.tick()
            await pilot.pause()
        assert "B against A" in text_of(app, "delta")


def test_a_pair_that_has_not_ended_has_no_verdict(scissors, healthy):
    a, b = frame_of(scissors, LOOK, 50.0), frame_of(healthy, LOOK, 50.0)
    assert "no verdict" in sentence(a, b, deltas(a, b))


def test_what_two_whole_runs_came_to_is_not_said_of_an_earlier_instant(scissors, healthy):
    ended, earlier = (replace(frame_of(scissors, LOOK, 125.0), phase=phase) for phase in (Phase.ENDED, Phase.LOAD))
    a, b = ended, replace(earlier, at_s=2.0)
    assert "at 2.0 s" not in sentence(a, a, deltas(a, a))
    assert "As they stood at 2.0 s" in sentence(b, b, deltas(b, b))
    assert "no verdict" in sentence(a, b, deltas(a, b))


def test_the_sentence_claims_no_more_than_one_run_each_can_show(scissors, healthy):
    a, b = (replace(frame_of(run, LOOK, run.story.for_s), phase=Phase.ENDED) for run in (scissors, healthy))
    said = sentence(a, b, deltas(a, b))
    assert "the length" in said
    same = sentence(a, a, deltas(a, a))
    assert "No figure differs" in same
    assert "may be chance" in same


def test_better_and_worse_are_told_by_shape_word_and_colour():
    rows = [
        Delta("done p95", "ms", 100.0, 300.0),
        Delta("lost", "", 314, 0),
        Delta("finished", "/s", 40.0, 80.0, is_better_lower=False),
        Delta("response p95", "ms", 10.0, 10.1),
        Delta("most queued", "", None, 3),
        Delta("finished", "tasks", 40.0, 80.0, is_better_lower=None),
    ]
    lines = delta_lines(rows, ("A", "B"), 100)[1:]
    text = [plain(one) for one in lines]
    assert "▲ ×3.00 worse" in text[0]
    assert "▼ -314 better" in text[1]
    assert "▲ ×2.00 better" in text[2]
    assert "about the same" in text[3]
    assert text[4].count("–") == 2
    assert text[5].endswith("▲ ×2.00")
    assert [one[-1][1] for one in lines] == ["bad", "good", "good", "muted", "muted", "muted"]


def test_that_more_gets_done_of_more_that_was_asked_is_no_better(scissors, healthy):
    a, b = (frame_of(run, LOOK, 50.0) for run in (scissors, healthy))
    for sent, is_better_lower in ((a.totals.attempted, False), (2 * a.totals.attempted, None)):
        other = replace(b, totals=replace(b.totals, attempted=sent))
        assert [each.is_better_lower for each in deltas(a, other) if each.name == "finished"] == [is_better_lower]


def test_what_a_crashed_run_has_lost_is_not_compared_for_nobody_knows(scissors, healthy):
    a, b = (frame_of(run, LOOK, 50.0) for run in (scissors, healthy))
    crashed = replace(b, phase=Phase.CRASHED, boot=replace(b.boot, is_up=False, in_words=NOT_KNOWN))
    assert [delta.b for delta in deltas(a, crashed) if delta.name == "lost"] == [None]
    assert [delta.b for delta in deltas(a, b) if delta.name == "lost"] == [0]


def test_what_never_ended_has_no_difference_in_figures():
    rows = [
        Delta("done p95", "ms", 50.0, math.inf),
        Delta("done p95", "ms", math.inf, 50.0),
        Delta("done p95", "ms", math.inf, math.inf),
        Delta("most queued", "", 0, 3),
        Delta("response p95", "ms", 0.0, 12.0),
    ]
    text = [plain(one).split("   ")[-1] for one in delta_lines(rows, ("A", "B"), 100)[1:]]
    assert text == ["▲ never in B: worse", "▼ never in A: better", "= about the same", "▲ +3 worse", "▲ +12.0 ms worse"]


def test_an_interval_that_holds_one_shows_nothing():
    """What harness.compare says of a figure goes before what the two values look like."""
    base = FigureRecord(
        id="p95", title="response p95", unit="ms", better="lower", decision="unclear", direction="", scale="ratio",
        base=10.0, other=13.0, estimate=1.3, low=0.9, high=1.8, p=0.2, spread=None, n=1, never_base=0, never_other=0,
        matters=0.05, needed=None,
    )  # fmt: skip
    delta = Delta("response p95", "ms", 10.0, 13.0, figure=base)
    assert "? ×1.30 (0.90 to 1.80) unclear" in plain(delta_lines([delta], ("A", "B"), 100)[1])
    seen = base.model_copy(update={"decision": "seen", "direction": "worse", "low": 1.1})
    assert "worse" in plain(delta_lines([replace(delta, figure=seen)], ("A", "B"), 100)[1])
    never = base.model_copy(
        update={
            "decision": "seen",
            "direction": "worse",
            "scale": "never",
            "estimate": None,
            "low": None,
            "high": None,
            "never_other": 1,
        }
    )
    assert "never in B: no answer" in plain(delta_lines([replace(delta, figure=never)], ("A", "B"), 100)[1])
    both = never.model_copy(update={"id": "done_p95", "decision": "equal", "direction": "", "never_base": 1})
    assert "= never in both: lost" in plain(delta_lines([replace(delta, figure=both)], ("A", "B"), 100)[1])
    endless = base.model_copy(update={"high": None})
    assert "? ×1.30 (0.90 to never) unclear" in plain(delta_lines([replace(delta, figure=endless)], ("A", "B"), 100)[1])
