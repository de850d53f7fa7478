"""Asking `python -m scenarios`, whose code is never imported here: what a scenario is, what to send, what is left at the end."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.errors import RunError, UsageError
from harness.modules import MODULE

if TYPE_CHECKING:  # whoever asks what there is to choose from needs no plan
    from harness.plan import Plan
    from harness.rundir import RunDir

__all__ = [
    "check_scenario",
    "describe_scenario",
    "entry_of",
    "introduce_scenarios",
    "is_file",
    "keep_source",
    "new_scenario",
    "traffic_of",
    "world_command",
]

_CHECK_S: Final = 60.0


def describe_scenario(name: str, tasks: str, settings: dict[str, str], seed: int) -> dict[str, Any]:
    """What the scenario says of itself. Raises UsageError for an unknown scenario or setting, or a file that holds none."""
    described: dict[str, Any] = json.loads(_ask("describe", name, *_given(settings, seed), "--tasks", tasks))
    return described


def introduce_scenarios() -> list[dict[str, Any]]:
    """What there is to choose from: name, summary, story, kinds, default plan and settings of each."""
    introduced: list[dict[str, Any]] = json.loads(_ask("list"))
    return introduced


def entry_of(plan: Plan, addresses: dict[str, str], tasks: str | None = None) -> str:
    """What a server is told of the scenario, as JSON; of a file, where it is: the server may run in another directory.

    `tasks`: of another kind than the plan's.
    """
    name = _name(plan)
    entry = {
        "name": str(Path(name).resolve()) if is_file(name) else name,
        "tasks": tasks or plan.tasks,
        "world": addresses,
        "settings": plan.settings,
        "seed": plan.seed,
    }
    return json.dumps(entry)


def keep_source(plan: Plan, rundir: RunDir) -> None:
    """Copies the file of somebody's own scenario into the run directory: it will have changed when the figures are looked at."""
    if plan.scenario is not None and is_file(plan.scenario):
        shutil.copy(plan.scenario, rundir.path)


def is_file(name: str) -> bool:
    """True if a scenario of that name is a file of somebody's own; else it is bundled."""
    return name.endswith(".py") or "/" in name


def traffic_of(plan: Plan, rundir: RunDir) -> list[dict[str, Any]]:
    """What the client may send; bodies too big for JSON are in files of the run directory."""
    given = _given(plan.settings, plan.seed)
    requests: list[dict[str, Any]] = json.loads(_ask("traffic", _name(plan), *given, "--bodies", str(rundir.bodies)))
    return requests


def world_command(plan: Plan, rundir: RunDir) -> list[str]:
    """How the world of the plan's scenario is started."""
    where = ("--rows", str(rundir.effects()), "--folder", str(rundir.world))
    return _command("world", _name(plan), *_given(plan.settings, plan.seed), *where)


def check_scenario(plan: Plan, rundir: RunDir) -> None:
    """Lets the scenario say what is left in its world, and writes that down. Raises RunError if it can't."""
    where = ("--run", str(rundir.path), "--folder", str(rundir.world))
    try:
        found = _ask("check", _name(plan), *_given(plan.settings, plan.seed), *where, timeout_s=_CHECK_S)
    except subprocess.TimeoutExpired:
        raise RunError(f"the check of the scenario did not end within {_CHECK_S:g} s") from None
    rundir.check.write_text(found, encoding="utf-8")


def new_scenario(path: Path) -> None:
    """Writes a starting point for a scenario of one's own. Raises UsageError if there is a file already."""
    _ask("new", str(path))


def _name(plan: Plan) -> str:
    assert plan.scenario is not None, "a command has no scenario"
    return plan.scenario


def _given(settings: dict[str, str], seed: int) -> list[str]:
    return [part for name, value in settings.items() for part in ("--set", f"{name}={value}")] + ["--seed", str(seed)]


def _command(what: str, *given: str) -> list[str]:
    return [sys.executable, *MODULE, "scenarios", what, *given]


def _ask(what: str, name: str = "", *given: str, timeout_s: float | None = None) -> str:
    """What `python -m scenarios` printed. Raises UsageError or RunError with its last line."""
    done = subprocess.run(
        _command(what, *([name] if name else []), *given),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=timeout_s,
        # A Ctrl-C in the terminal is for whoever asks; while a run is judged that need not be its end.
        process_group=0 if what == "check" else None,
    )
    if done.returncode == 0:
        return done.stdout
    lines = done.stderr.strip().splitlines()
    reason = lines[-1].removeprefix("Error: ") if lines else f"exit status {done.returncode}"
    if done.returncode == 2:  # click's usage error
        raise UsageError(reason)
    if len(lines) == 1:  # somebody's own file: the line says where
        raise RunError(reason)
    raise RunError(f"python -m scenarios {what} {name} failed: {reason}")
