"""What it takes to know a scenario: each run asks three times, and waits for the answer before it can begin."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import typing

import pytest

from scenarios.registry import NAMES
from scenarios.scenario import Scenario


@pytest.mark.parametrize("name", NAMES)
def test_whoever_asks_what_a_scenario_is_does_not_wait_for_fastapi(name: str) -> None:
    code = f"import sys; from scenarios.registry import find; found = find({name!r}); sys.exit('fastapi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_types_of_what_a_scenario_has_can_be_asked_for() -> None:
    assert typing.get_type_hints(Scenario).keys() == {field.name for field in dataclasses.fields(Scenario)}
