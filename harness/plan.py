"""What a run does. The same fields are the options of `afterload run` and the keys of `plan.toml`."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from harness.errors import UsageError
from harness.faults import FaultPlan, parse_fault

__all__ = ["Plan", "read_plan"]


MOST_REQUESTS = 20_000_000


class Plan(BaseModel):
    """A whole run, validated. Durations in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scenario: str
    engine: Literal["rust"] = "rust"
    tasks: Literal["sync", "async", "blocking", "inline"] = "sync"
    pool: Annotated[int, Field(ge=1, le=10_000)]
    order: Literal["sequential", "parallel"] = "sequential"
    on_error: Literal["continue", "stop"] = "continue"
    queue_limit: Annotated[int, Field(ge=0)] | None = None
    drain_s: Annotated[float, Field(ge=0, le=3600)] = 30.0
    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    rate: Annotated[float, Field(gt=0, le=100_000)]
    arrivals: Literal["constant", "poisson"] = "constant"
    for_s: Annotated[float, Field(gt=0, le=86_400)]
    warm_up_s: Annotated[float, Field(ge=0)] = 1.0
    load_processes: Annotated[int, Field(ge=1, le=64)] = 1
    request_timeout_s: Annotated[float, Field(gt=0, le=600)] = 10.0
    max_in_flight: Annotated[int, Field(ge=1, le=60_000)] = 2000
    faults: tuple[str, ...] = ()
    horizon_s: Annotated[float, Field(gt=0, le=86_400)] = 120.0
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 1
    settings: dict[str, str] = {}

    @field_validator("faults")
    @classmethod
    def _faults_are_known(cls, faults: tuple[str, ...]) -> tuple[str, ...]:
        for fault in faults:
            parse_fault(fault)
        return faults

    @model_validator(mode="after")
    def _times_fit(self) -> Plan:
        for fault in self.fault_plans:
            if fault.at_s >= self.for_s:
                msg = f"fault {fault} comes after the end of the load ({self.for_s:g} s): make it earlier, or load longer"
                raise ValueError(msg)
        if self.rate * self.for_s > MOST_REQUESTS:
            msg = f"rate {self.rate:g} for {self.for_s:g} s are more than {MOST_REQUESTS:,} requests: ask for fewer or shorter"
            raise ValueError(msg)
        if self.warm_up_s >= self.for_s:
            msg = f"warm_up_s is {self.warm_up_s:g} and the load lasts {self.for_s:g} s: nothing would be left to measure"
            raise ValueError(msg)
        return self

    @property
    def fault_plans(self) -> list[FaultPlan]:
        """The faults in the order in which they happen."""
        return sorted((parse_fault(fault) for fault in self.faults), key=lambda fault: fault.at_s)

    def to_toml(self) -> str:
        """The plan as it can be run again."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))

    @classmethod
    def of(cls, values: Mapping[str, Any], where: str) -> Plan:
        """Validates. Raises UsageError naming each key, what was given and what is allowed; `where` says where it was given."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = [_say(dict(problem)) for problem in error.errors()]
            raise UsageError(f"{where}: " + "\n  and ".join(problems)) from None


def read_plan(path: Path) -> dict[str, Any]:
    """The values of a plan file. Raises UsageError if there is none or it is no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the plan {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the plan {path} is no TOML: {error}") from None


def _say(problem: dict[str, Any]) -> str:
    key = ".".join(map(str, problem["loc"]))
    kind, given, context = problem["type"], problem.get("input"), problem.get("ctx", {})
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(key, Plan.model_fields, n=1)
        return f"there is no key {key!r}" + (
            f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(Plan.model_fields)}"
        )
    if kind == "missing":
        return f"{key} is missing"
    if kind == "literal_error":
        return f"{key} is {given!r}; allowed is {context['expected']}"
    bounds = {
        "greater_than": "more than {gt:g}",
        "greater_than_equal": "{ge:g} or more",
        "less_than": "less than {lt:g}",
        "less_than_equal": "{le:g} or less",
    }
    if kind in bounds:
        return f"{key} is {given}; allowed is {bounds[kind].format(**context)}"
    if kind == "value_error":
        return f"{key}: {context['error']}" if key else str(context["error"])
    return f"{key} is {given!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}"
