"""Small apps under test: each file is one scenario, its traffic, its world and what must have arrived there; apps/ has the apps.

What a scenario is made of is imported from here, by ours and by yours (`afterload new my_scenario.py`). `python -m scenarios
--help` is how the harness talks to this folder; `scenarios.entry` is what a server is started with.
"""

from scenarios.kinds import TaskKind, endpoint_of, task_of
from scenarios.rows import Rows
from scenarios.scenario import CannotStart, Check, Figure, Plan, Request, Scenario, Task, Troubled, World
from scenarios.settings import BadSetting, Setting, Settings, choice, count, duration, share, size, url
from server import EffectRows

__all__ = [
    "BadSetting",
    "CannotStart",
    "Check",
    "EffectRows",
    "Figure",
    "Plan",
    "Request",
    "Rows",
    "Scenario",
    "Setting",
    "Settings",
    "Task",
    "TaskKind",
    "Troubled",
    "World",
    "choice",
    "count",
    "duration",
    "endpoint_of",
    "share",
    "size",
    "task_of",
    "url",
]
