"""What the options of a command ask for, as plans: with a plan file, the defaults of the scenario, and changes for each run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from harness.commands.objectives import doubts
from harness.commands.params import EXAMPLE
from harness.commands.planopts import COMMAND
from harness.errors import UsageError
from harness.load import ways
from harness.merging import merged
from harness.plan import Plan, read_plan
from harness.replays import read_replay
from harness.session import describe
from harness.target import require_address_of_this_machine, require_own

__all__ = ["Asked", "Prepared", "tell_about"]

_WARM_UP_S = 1.0
_OWN_APP: dict[str, Any] = {"rate_per_s": 50.0, "duration_s": 10.0, "pool": None, "faults": ()}
"""What is done to somebody's own app when nothing else is asked for."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan that can be run, and what is known of its app in advance."""

    plan: Plan
    described: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """What was given, not yet a plan: the same command line may stand for several."""

    scenario: str | None
    command: tuple[str, ...] | None  # what came after --
    plan_file: Path | None
    given: Mapping[str, Any]  # keys of the plan
    confirmed: tuple[str, ...] = ()  # hosts that the user says are theirs

    @classmethod
    def of(
        cls,
        context: click.Context,
        scenarios: tuple[str, ...],
        plan_file: Path | None,
        confirmed: tuple[str, ...],
        options: dict[str, Any],
    ) -> Asked:
        """From the parameters of a PlanCommand. Raises UsageError if two things are asked for at once."""
        given = _given(options)
        command: tuple[str, ...] | None = context.meta.get(COMMAND)
        if len(scenarios) > 1 or (scenarios and command is not None):
            raise click.UsageError(
                f"{' '.join(scenarios)!r} is more than the name of one scenario; write -- before a command: {EXAMPLE}"
            )
        return cls(scenarios[0] if scenarios else None, command, plan_file, given, confirmed)

    def prepared(self, changes: Mapping[str, Any] | None = None, *, ask: Callable[[Plan], dict[str, Any]] = describe) -> Prepared:
        """The plan, with `changes` (keys of it) put over the options. Raises UsageError, naming each key that is wrong.

        `ask` finds out what the app says of itself; who knows it already need not start a process.
        """
        given = merged(self.given, changes or {})
        values = ways.fill_in(merged(read_plan(self.plan_file) if self.plan_file is not None else {}, given))
        if self.scenario is not None:
            values["scenario"] = self.scenario
        if self.command is not None and "command" not in (changes or {}):
            values["command"] = self.command
        if "command" in values and not values["command"]:
            raise click.UsageError(f"there is no command after --; write, e.g., {EXAMPLE}")
        whole = {"pool": 10_000, "for_s": 3600.0, "warm_up_s": 0.0, **({} if ways.given_ways(values) else {"rate": 1.0})}
        where = "options" if self.plan_file is None else f"plan {self.plan_file}" + (" with options" if given else "")
        if "scenario" not in values and "command" not in values and self.plan_file is not None:
            # What it has in its place, e.g., a table, is told first.
            Plan.of({**whole, "scenario": "any", **values}, where)
            raise UsageError(f"the plan {self.plan_file} names no scenario and no command", 'write, e.g., scenario = "email"')
        if "scenario" not in values and "command" not in values:
            raise click.UsageError(
                f"name a scenario, e.g., afterload run email, or a plan with --plan, or the command of your own app: {EXAMPLE}"
            )
        if "command" in values:
            # So that the plan can be run again from anywhere.
            values["cwd"] = str(Path(values.get("cwd") or ".").absolute())
            values.update({name: str(Path(values[name]).absolute()) for name in _files_in(values)})
        # Once with what any scenario would do, so that a wrong value is told before anything is started.
        first = Plan.of({**whole, **values}, where)
        if first.replay is not None:
            values["replay"] = str(Path(first.replay).absolute())
            values["for_s"] = read_replay({**dict(first), "for_s": values.get("for_s")}).length_s
        if "command" in values and not (first.requests or first.locustfile or first.openapi):
            hint = (
                "name a request, e.g., --request 'POST /orders', or let them be made: --from-openapi auto, or give a --locustfile"
            )
            raise UsageError("nothing says what to send", hint)
        described = ask(first)
        plan = Plan.of({**_defaults(described, values), **values}, where)
        require_own(plan.host, self.confirmed)
        require_address_of_this_machine(plan.host)
        return Prepared(plan, described)


def tell_about(plan: Plan) -> None:
    """Notes on a plan that somebody should know before it runs, on standard error."""
    if plan.hidden:
        names = ", ".join(plan.hidden)
        click.echo(
            f"note: secret header values are not written to the run directory; to run its plan again, set {names}", err=True
        )
    for doubt in doubts(plan):
        click.echo(f"note: {doubt}", err=True)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in options.items() if value is not None and value != ()}
    for name in ("faults", "slos", "allow"):
        if "none" in given.get(name, ()):
            given[name] = ()
    if "settings" in given:
        pairs = [setting.partition("=") for setting in given["settings"]]
        for name, equals, _ in pairs:
            if not equals:
                raise UsageError(f"--set {name} has no value", "write it as --set name=value, e.g., --set delay=200ms")
        given["settings"] = {name: value for name, _, value in pairs}
    for name in ("postgres", "redis"):
        if (url := given.pop(name, None)) is not None:
            given["settings"] = {**given.get("settings", {}), name: url}
    return given


def _files_in(values: Mapping[str, Any]) -> list[str]:
    names = [name for name in ("locustfile", "openapi") if isinstance(values.get(name), str)]
    return [name for name in names if values[name] != "auto" and "://" not in values[name]]


def _defaults(described: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    plan = described.get("plan", _OWN_APP)
    defaults = {"for_s": plan["duration_s"]}
    if not ways.given_ways(values):
        defaults["rate"] = plan["rate_per_s"]
    if plan["pool"] is not None:
        defaults["pool"] = plan["pool"]
    for_s = values.get("for_s", defaults["for_s"])
    if isinstance(for_s, (int, float)):
        defaults["warm_up_s"] = min(_WARM_UP_S, for_s / 5)
    # The default faults belong to the default length: a shorter load asked for by hand gets none that it did not ask for.
    if "for_s" not in values:
        defaults["faults"] = tuple(plan["faults"])
    return defaults
