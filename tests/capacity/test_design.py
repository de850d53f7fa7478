"""The plans of stages: what differs from stage to stage, and that no secret is written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.capacity.design import Asking, Design
from harness.capacity.driver import Driver, stage_plan
from harness.capacity.folder import Folder
from harness.capacity.search import Asked, Options
from harness.plan import Plan


def plan(**values: Any) -> Plan:
    command = ("uvicorn", "main:app", "--port", "{port}")
    request = {"method": "POST", "path": "/orders", "headers": {"Authorization": "Bearer s3cret"}}
    known = {"command": command, "requests": [request], "rate": 20.0, "for_s": 9.0, "warm_up_s": 1.0}
    return Plan.of({**known, **values}, "test")


def test_a_stage_has_its_rate_and_length_and_arrivals_of_its_own() -> None:
    whole = plan(slos=("p99<50ms", "backlog bounded"), faults=("kill@6s",), arrivals="poisson", horizon_s=60.0)
    first, third = (stage_plan(whole, Asked(40.0, 12.0, "bisect"), number) for number in (1, 3))
    assert (first.rate, first.for_s, first.warm_up_s) == (40.0, 13.0, 1.0)
    assert first.seed != third.seed
    assert first.faults == ()
    assert first.slos == ("p99<50ms",)
    assert first.horizon_s < whole.horizon_s


def test_the_faults_that_were_asked_for_are_in_the_stages_for_them_alone() -> None:
    assert stage_plan(plan(faults=("kill@6s",)), Asked(40.0, 8.0, "fault"), 9).faults == ("kill@6s",)


def test_secrets_are_sent_and_never_written(tmp_path: Path) -> None:
    whole = plan()
    asking = Asking(label="", plan=whole.plain(), options=Options(start=20.0, most=500.0))
    folder = Folder.new(tmp_path / "it", Design(title="main", began="2026-01-01T00:00:00+00:00", configurations=(asking,)))
    driver = Driver(asking, folder, lambda text: None, whole.hidden)
    sent = stage_plan(driver.plan, Asked(40.0, 8.0, "bisect"), 1, whole.hidden)
    assert sent.requests[0].headers == {"Authorization": "Bearer s3cret"}
    assert "s3cret" not in (folder.path / "design.json").read_text(encoding="utf-8")
    assert "s3cret" not in sent.to_toml()
