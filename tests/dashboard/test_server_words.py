"""What is said of the server and its pool at the beginning and the end of their lives."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dashboard.panels import tiles
from dashboard.panels.lines import plain
from dashboard.panels.status import Watch, status_line
from harness.live.frame import Boot, Frame, Look, Phase
from tests.dashboard.frames import frame_of


@pytest.fixture(scope="module")
def frame(scissors) -> Frame:
    return frame_of(scissors, Look(0.0, 120.0, 1.0), 118.0)


@pytest.mark.parametrize(
    ("words", "phase", "said", "role"),
    [
        ("ended", Phase.STOP, "○ stopped", "muted"),  # an orderly end is no fault of anybody's
        ("ended", Phase.ENDED, "○ stopped", "muted"),
        ("down", Phase.LOAD, "✖ DOWN 3 s", "bad"),
        ("down", Phase.ENDED, "✖ DOWN at the end", "bad"),  # it died, and nobody started another one
    ],
)
def test_a_server_that_has_ended_in_good_order_is_told_apart_from_a_dead_one(frame, words, phase, said, role):
    boot = Boot(number=2, pid=None, is_up=False, is_ready=False, for_s=3.0, in_words=words)
    line = status_line(replace(frame, boot=boot, phase=phase), Watch(), 200)
    assert (said, role) in [(text.strip(), given) for text, given in line]
    assert ("✖" in plain(line)) == (role == "bad")


@pytest.mark.parametrize(
    ("saturated_s", "busy", "said"),
    [
        (0.0, 3, "never saturated"),
        (0.0, 4, "saturated for under 1 s"),
        (0.4, 3, "saturated for under 1 s"),
        (7.2, 3, "saturated for 7 s"),
    ],
)
def test_a_pool_that_is_full_has_not_been_never_full(frame, saturated_s, busy, said):
    now = replace(frame.now, pool_size=4, pool_busy=busy, loop_blocked_by=None)
    at = replace(frame, now=now, totals=replace(frame.totals, saturated_s=saturated_s), summary=None)
    assert tiles.pool(at).lines == (said,)
