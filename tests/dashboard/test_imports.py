"""What is imported before anything is seen: each of these once doubled the time until the first picture."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = "import importlib, json, sys; importlib.import_module(sys.argv[1]); print(json.dumps(sorted(sys.modules)))"
PICTURE = """
import json, sys
from pathlib import Path
from dashboard.app import Dashboard
from dashboard.options import ScreenOptions
from dashboard.watching import Mode, Watching

class Ends:
    def __init__(self):
        app.exit()
    def start(self): pass
    def look(self, look): pass
    def close(self): pass

def follower(path, *, tell, every_s):
    seen.update(sys.modules)
    seen_text.append(app.screen.query_one("#status").lines)
    return Ends()

seen, seen_text = {}, []
app = Dashboard(ScreenOptions(), watching=Watching(Path("nowhere"), Mode.ATTACHED), make_follower=follower)
app.run(headless=True, size=(120, 36))
assert seen_text and "waiting for the first figures" in str(seen_text), seen_text
print(json.dumps(sorted(seen)))
"""


def modules_after(*program: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", *program], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("module", "not_wanted"),
    [
        ("dashboard.commandline", {"textual", "scipy", "pydantic", "harness.session", "numpy"}),
        ("dashboard.offers", {"pydantic", "numpy", "harness.plan", "subprocess"}),
        ("harness.scenario", {"pydantic", "numpy", "harness.plan", "harness.engines"}),
        ("harness.commands.run", {"textual", "scipy", "dashboard", "harness.capacity", "harness.compare"}),
    ],
)
def test_nothing_waits_for_what_it_does_not_need(module: str, not_wanted: set[str]) -> None:
    assert not_wanted.isdisjoint(modules_after(PROGRAM, module))


def test_the_first_picture_waits_neither_for_figures_nor_for_what_nobody_has_asked_for() -> None:
    """All that is there when the run begins to be read, with the live screen on show."""
    not_wanted = {"numpy", "scipy", "pydantic", "locust", "httpx", "psutil"}
    not_wanted |= {"harness.session", "harness.evidence", "harness.plan", "harness.scenario", "harness.commands.run"}
    not_wanted |= {"harness.live.follower", "harness.series", "harness.control", "harness.faults"}
    not_wanted |= {"dashboard.panels.charts", "dashboard.raster.chart"}
    not_wanted |= {f"dashboard.screens.{name}" for name in ("compare", "findings", "help", "history", "start", "tasks")}
    not_wanted |= {f"dashboard.modals.{name}" for name in ("error", "export", "kill", "mark", "quit")}

    assert sorted(not_wanted & modules_after(PICTURE)) == []
