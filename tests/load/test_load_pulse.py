"""The heart beat of a load process: what it counts, and what it tells."""

from __future__ import annotations

from typing import Any

from harness.load.pulse import MOST, Pulse

MS = 1_000_000
T0 = 5_000 * MS


def beats(*late_ms: tuple[int, int]) -> Pulse:
    """One that began at T0; each beat at a time after it, so much too late."""
    pulse = Pulse()
    pulse.begin(T0, T0)
    for at_ms, late in late_ms:
        pulse.beat(T0 + at_ms * MS, late * MS)
    return pulse


def test_a_beat_that_comes_late_is_a_stall_and_a_little_late_is_none() -> None:
    told: dict[str, Any] = beats((10, 5), (100, 20), (400, 150), (500, 21)).report()

    assert told == {"stalled_s": 0.171, "longest_stall_s": 0.15, "stalls": [(0.25, 0.15), (0.479, 0.021)]}


def test_what_lies_before_the_start_is_left_out() -> None:
    pulse = Pulse()
    pulse.beat(T0 - 10 * MS, 500 * MS)
    pulse.begin(T0, T0 + 10 * MS)
    pulse.beat(T0 + 60 * MS, 500 * MS)

    assert pulse.report() == {"stalled_s": 0.05, "longest_stall_s": 0.05, "stalls": [(0.01, 0.05)]}


def test_when_all_is_sent_a_stall_is_told_and_not_counted() -> None:
    """Answers are still read, and may be read too late."""
    pulse = beats((100, 50))
    pulse.sent_all()
    pulse.beat(T0 + 300 * MS, 80 * MS)

    assert pulse.report() == {"stalled_s": 0.05, "longest_stall_s": 0.05, "stalls": [(0.05, 0.05), (0.22, 0.08)]}


def test_with_very_many_the_nearest_are_told_as_one() -> None:
    """None is left out."""
    late = [(100 * n + (40 if n % 2 else 0), 30) for n in range(1, MOST + 21)]
    told: Any = beats(*late).report()

    assert len(told["stalls"]) == MOST
    assert told["stalled_s"] == round(0.03 * len(late), 6)
    for at_ms, late_ms in late:
        assert any(
            from_s <= (at_ms - late_ms) / 1e3 + 1e-9 and at_ms / 1e3 - 1e-9 <= from_s + length_s
            for from_s, length_s in told["stalls"]
        )
    assert sum(length_s for _, length_s in told["stalls"]) < 0.03 * len(late) + 20 * 0.2
