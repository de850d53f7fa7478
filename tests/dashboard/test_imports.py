"""What is imported before anything is seen: each of these once doubled the time until the first picture."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = "import importlib, json, sys; importlib.import_module(sys.argv[1]); print(json.dumps(sorted(sys.modules)))"


@pytest.mark.parametrize(
    ("module", "not_wanted"),
    [
        ("dashboard.commandline", {"textual", "scipy", "pydantic", "harness.session", "numpy"}),
        ("harness.commands.run", {"textual", "scipy", "dashboard", "harness.capacity", "harness.compare"}),
        (
            "dashboard.app",
            {
                "scipy",
                "pydantic",
                "harness.session",
                "harness.evidence",
                "harness.plan",
                "harness.commands.run",
                "locust",
                "httpx",
            }
            | {"dashboard.screens.compare", "dashboard.screens.start", "harness.live.follower", "harness.series"},
        ),
    ],
)
def test_nothing_waits_for_what_it_does_not_need(module: str, not_wanted: set[str]) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, module], capture_output=True, text=True, check=True, timeout=60)
    assert not_wanted.isdisjoint(json.loads(done.stdout))
