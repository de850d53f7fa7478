"""The options that say what a run has to hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from harness.errors import UsageError
from harness.figures import check_slo, figure_of
from harness.plan import Plan
from harness.samples import least_to_bound, least_to_measure

__all__ = ["doubts", "given_limits", "slo_options"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def slo_options(command: Decorated) -> Decorated:
    """Adds `--slo` and `--allow`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def given_limits(slos: tuple[str, ...], allow: tuple[str, ...]) -> dict[str, list[str]]:
    """The keys of a plan that these options give, `none` being an empty list. Raises UsageError for a limit without sense."""
    given = {name: list(values) for name, values in (("slos", slos), ("allow", allow)) if values}
    for name, values in given.items():
        if "none" in values:
            given[name] = []
    for slo in given.get("slos", ()):
        try:
            check_slo(slo)
        except ValueError as error:
            raise UsageError(f"options: slos: {error}") from None
    return given


def doubts(plan: Plan) -> Iterator[str]:
    """What can be seen in advance: objectives that this plan cannot decide."""
    for slo in map(check_slo, plan.slos):
        figure = figure_of(slo, slo.figure)
        if figure.name in {"recovery", "backlog_recovery"} and not plan.faults:
            yield f"{slo.text} will be inconclusive: there is no fault to recover from"
        if figure.share is None or figure.share == 1 or plan.profile is None or "few-samples" in plan.allow:
            continue
        rate_per_s = plan.profile.expected / plan.for_s
        expected = round(rate_per_s * (slo.window_s or plan.for_s - plan.warm_up_s))
        least = least_to_bound(figure.share)
        if expected < least:
            each = f"in each {slo.window_s:g} s " if slo.window_s else ""
            yield (
                f"{slo.text} will hardly be decided: about {expected:,} values are expected {each}and {figure.name} needs "
                f"{least_to_measure(figure.share):,}, or {least:,} that all hold (docs/verdict.md)"
            )


_OPTIONS = (
    click.option(
        "--slo",
        "slos",
        multiple=True,
        metavar="SLO",
        help="What has to hold, e.g., p99<50ms, lost==0, backlog bounded, done_p99<5s, achieved>=95%, or in every 5 s "
        "p99<50ms@5s; repeatable; 'none' for none. Any figure of the summary will do (docs/verdict.md).",
    ),
    click.option(
        "--allow",
        "allow",
        multiple=True,
        type=click.Choice(["noise", "few-samples", "none"]),
        help="What may not make an SLO inconclusive: other programs on the machine, few requests; repeatable.",
    ),
)
