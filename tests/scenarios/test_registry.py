"""What it takes to know a scenario: each run asks three times, and waits for the answer before it can begin."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scenarios.registry import NAMES


@pytest.mark.parametrize("name", NAMES)
def test_whoever_asks_what_a_scenario_is_does_not_wait_for_fastapi(name: str) -> None:
    code = f"import sys; from scenarios.registry import find; found = find({name!r}); sys.exit('fastapi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
