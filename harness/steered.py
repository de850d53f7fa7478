"""What was asked of a run while it went on, and what became of it, from its events. Pure: no clock, no files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from harness.load.pacing import planned_profile
from harness.load.profile import Profile
from harness.model import Evidence, LoadChanged, Steered

__all__ = ["changed_ns", "load_changes_in", "profile_in_force", "stages_of", "steered_in"]

_NS: Final = 10**9
_OF_RATES: Final = frozenset({"rate", "users", "pool"})


def steered_in(events: Sequence[Mapping[str, Any]]) -> list[Steered]:
    """Every command, in the order in which they came. One without an answer was not done: its session was killed."""
    asked = [event for event in events if event["event"] == "command"]
    answers = {event["id"]: event for event in events if event["event"] in {"command_landed", "command_refused"}}
    found = []
    for event in asked:
        answer = answers.get(event["id"], {"why": "the session ended before it was done"})
        found.append(
            Steered(
                do=event["do"],
                text=event["text"],
                value=event["value"],
                who=event["who"],
                asked_ns=event["asked_ns"],
                landed_ns=answer.get("at_ns"),
                refused=answer.get("why", ""),
                detail=answer.get("detail", ""),
            )
        )
    return found


def load_changes_in(events: Iterable[Mapping[str, Any]]) -> list[LoadChanged]:
    """Every change of the load that was made, in order."""
    names = ("at_ns", "rate_per_s", "users", "load_end_ns", "planned")
    return [LoadChanged(**{name: event[name] for name in names}) for event in events if event["event"] == "load_changed"]


def profile_in_force(evidence: Evidence, plan: Mapping[str, Any]) -> Profile | None:
    """The rates that there were, as they were planned and as they were changed. None where nobody could have planned them."""
    profile = None if evidence.is_closed else planned_profile(plan)
    start_ns = evidence.load_start_ns
    if profile is None:
        return None
    for each in evidence.load_changes:
        from_s, until_s = (Fraction(at_ns - start_ns, _NS) for at_ns in (each.at_ns, each.load_end_ns))
        try:
            profile = profile.changed(from_s, until_s, Fraction(str(each.rate_per_s or 0)))
        except ValueError:
            # Nothing was sent at all.
            return None
    return profile


def changed_ns(steered: Sequence[Steered]) -> list[int]:
    """When something was changed that rates and times depend on."""
    return sorted(each.landed_ns for each in steered if each.do in _OF_RATES and each.landed_ns is not None)


def stages_of(profile: Profile) -> str:
    """The profile as `--stages` has it, to the millisecond: to run again what was done by hand."""
    parts, begun_ms, at_s = [], 0, Fraction(0)
    for each in profile.segments:
        at_s += each.for_s
        end_ms = round(at_s * 1000)
        rates = [f"{float(rate):.10g}" for rate in dict.fromkeys((each.start_per_s, each.end_per_s))]
        if end_ms > begun_ms:
            parts.append(f"{'pause' if rates == ['0'] else '..'.join(rates)} for {(end_ms - begun_ms) / 1000:.10g}s")
        begun_ms = end_ms
    return ", ".join(parts)
