"""What a change by hand means for verdict and findings: runs of a simulated world, with what was asked of them beside them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from harness.model import Evidence, Fault, LoadChanged, Steered
from harness.schema import Summary
from harness.summary import build_summary
from harness.text import render
from tests.verdict.simulated import START_NS, S, Setup, Simulated

PLAN = {"rate": 100.0, "for_s": 24.0, "arrivals": "constant"}
KEEPS_UP = Setup(seed=3, rate=100.0, for_s=24.0, pool=1, run_ms=5.0)


def asked(text: str, at_s: float | None, refused: str = "") -> Steered:
    landed_ns = None if at_s is None else START_NS + round(at_s * S)
    return Steered(text.partition("=")[0], text, None, "a test", landed_ns or START_NS, landed_ns, refused)


def judged(run: Evidence, plan: dict[str, Any] | None = None, **changes: Any) -> Summary:
    return build_summary(dataclasses.replace(run, **changes), plan or PLAN, {"cpus": 2})


def test_a_change_that_landed_is_no_reason_to_doubt_anything() -> None:
    """From 100 to 300 requests/s, of which 200 can be done: offered is what was sent, and the second half falls behind."""
    run = Simulated(dataclasses.replace(KEEPS_UP, then=(12.0, 300.0))).evidence()
    change = LoadChanged(START_NS + 12 * S, 300.0, None, START_NS + 24 * S, run.planned_requests)
    steered = {"load_changes": [change], "steered": [asked("rate=300", 12.0), asked("rate=1", None, "too late")]}
    summary = judged(run, **steered)
    (grows,) = [each for each in summary.findings if each.id == "backlog-grows"]

    assert (summary.verdict, summary.reasons) == ("PASS", [])
    # 10 s of the first rate are measured, and 12 s of the other one.
    assert summary.requests.offered_per_s == pytest.approx((10 * 100 + 12 * 300) / 22, abs=1)
    assert "300 tasks/s come in" in grows.text
    assert summary.steered_stages == "100 for 12s, 300 for 12s"
    assert [(each.text, each.landed_s, each.refused) for each in summary.steered] == [
        ("rate=300", 12.0, ""),
        ("rate=1", None, "too late"),
    ]
    assert "300 tasks/s come in" not in " ".join(each.text for each in judged(run).findings)


def test_what_would_fall_behind_later_is_not_said_of_a_load_that_was_lowered_in_time() -> None:
    """One rate at a time: each stretch between two changes is looked at by itself."""
    run = Simulated(dataclasses.replace(KEEPS_UP, then=(12.0, 50.0))).evidence()
    change = LoadChanged(START_NS + 12 * S, 50.0, None, START_NS + 24 * S, run.planned_requests)

    assert "backlog-grows" not in {each.id for each in judged(run, load_changes=[change]).findings}


@pytest.mark.parametrize(
    ("slos", "verdict", "reason"),
    [
        ([], "INCONCLUSIVE", "The load was ended by hand after 24.0 s, not after 60.0 s; 1 planned fault never happened."),
        (
            ["p50<1s"],
            "INCONCLUSIVE",
            "The load was ended by hand after 24.0 s, not after 60.0 s; 1 planned fault never happened.",
        ),
        (["p50<1us"], "FAIL", "p50<1us is broken"),
    ],
)
def test_a_load_that_was_ended_by_hand_never_passes(slos: list[str], verdict: str, reason: str) -> None:
    """It can be trusted all the same: what is broken is broken."""
    summary = judged(
        Simulated(KEEPS_UP).evidence(),
        {**PLAN, "slos": slos},
        planned_end_ns=START_NS + 60 * S,
        planned_faults=("kill@50s",),
        load_changes=[LoadChanged(START_NS + 24 * S, None, None, START_NS + 24 * S, 2400)],
        steered=[asked("stop", 24.0)],
    )

    assert summary.verdict == verdict
    assert summary.trusted
    assert summary.reasons[0].startswith(reason)
    text = " ".join(render(summary, width=200).split())
    assert ("are not those of what was planned: · The load was ended by hand" in text) == (verdict == "INCONCLUSIVE"), text[:600]


def test_a_load_that_was_made_longer_may_pass_and_one_that_was_then_stopped_may_not() -> None:
    """More than was planned is no less; but who stops it does not say when it would have been enough."""
    run, longer = Simulated(KEEPS_UP).evidence(), LoadChanged(START_NS + 12 * S, 100.0, None, START_NS + 90 * S, 2400)
    ended = LoadChanged(START_NS + 24 * S, None, None, START_NS + 24 * S, 2400)
    common = {"planned_end_ns": START_NS + 12 * S}

    extended = judged(run, load_changes=[dataclasses.replace(longer, load_end_ns=run.load_end_ns)], **common)
    stopped = judged(run, load_changes=[longer, ended], steered=[asked("for=90s", 3.0), asked("stop", 24.0)], **common)

    assert extended.verdict == "PASS"
    assert stopped.verdict == "INCONCLUSIVE"
    assert stopped.reasons == ["The load was ended by hand after 24.0 s, not after 90.0 s."]


def test_a_fault_by_hand_is_no_planned_one() -> None:
    """Refused, late, or after the load: whoever asked was told. It does not stand for one that was planned, either."""
    run = Simulated(KEEPS_UP).evidence()
    refused = Fault("kill", 3.0, None, None, "it had to wait", by_hand=True)
    late = Fault("hog", 3.0, START_NS + 25 * S, 1, effect="lasts", ended_ns=START_NS + 26 * S, length_s=1.0, by_hand=True)

    assert judged(run, faults=[refused, late]).verdict == "PASS"
    missing = judged(run, faults=[refused], planned_faults=("hup@5s",))
    assert missing.reasons == ["1 of 1 planned faults never happened."]
    planned = judged(run, faults=[dataclasses.replace(refused, by_hand=False)], planned_faults=("kill@3s",))
    assert planned.reasons == ["The fault kill at 3 s did not land: it had to wait."]
