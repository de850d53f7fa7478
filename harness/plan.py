"""What a run does. The same fields are the options of `afterload run` and the keys of `plan.toml`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from harness.address import split_address
from harness.complaints import complaint
from harness.errors import UsageError
from harness.faults import FaultPlan, Target, contradiction, occurrences, unfit
from harness.faultsyntax import parse_fault
from harness.figures import check_slo
from harness.load import ways
from harness.load.pacing import planned_profile
from harness.load.profile import Profile
from harness.load.stages import parse_stages
from harness.traffic.operations import parse_pattern
from harness.traffic.request import RequestPlan, check_header
from harness.traffic.secret import Mask, has_password

__all__ = ["HOST_PLACEHOLDER", "PORT_PLACEHOLDER", "Plan", "RequestPlan", "read_plan"]


MOST_REQUESTS = 20_000_000
_SAME_S = 1e-6
PORT_PLACEHOLDER = "{port}"
HOST_PLACEHOLDER = "{host}"

_IPV4 = r"^(?:\d{1,3}\.){3}\d{1,3}$"
_OF_THE_BUNDLED = {"order": "sequential", "on_error": "continue", "queue_limit": None}
_OF_SCENARIOS = {"tasks": "sync", "settings": {}, "workers": 1}
_OF_OPENAPI = ("openapi_only", "openapi_exclude", "openapi_headers")
_OF_COMMANDS = ("cwd", "ready", "requests", "locustfile", "openapi", *_OF_OPENAPI)


_Text = Annotated[str, WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})]
"""In a file it may be a list of texts, which become one (`ways.fill_in`)."""


class Plan(BaseModel):
    """A whole run, validated: of a scenario on one of the engines, or of any command. Durations in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scenario: str | None = None
    engine: Literal["rust", "uvicorn", "granian", "command"] = "rust"
    command: tuple[str, ...] = ()
    cwd: str | None = None
    ready: Annotated[str, Field(pattern="^/")] | None = None
    ready_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    requests: tuple[RequestPlan, ...] = ()
    openapi: str | None = None
    openapi_only: tuple[str, ...] = ()
    openapi_exclude: tuple[str, ...] = ()
    openapi_headers: dict[str, str] = Field(default={}, repr=False)
    locustfile: str | None = None
    users: Annotated[int, Field(ge=1, le=60_000)] | None = None
    spawn_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    think_s: Annotated[float, Field(ge=0, le=3600)] | None = None
    think_spread: Literal["constant", "exponential"] | None = None
    tasks: Literal["sync", "async", "blocking", "inline"] | None = None
    workers: Annotated[int, Field(ge=1, le=64)] | None = None
    loop: Literal["auto", "asyncio", "uvloop"] | None = None
    pool: Annotated[int, Field(ge=1, le=10_000)] | None = None
    order: Literal["sequential", "parallel"] | None = None
    on_error: Literal["continue", "stop"] | None = None
    queue_limit: Annotated[int, Field(ge=0)] | None = None
    drain_s: Annotated[float, Field(ge=0, le=3600)] = 30.0
    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    host: Annotated[str, Field(pattern=_IPV4)] = "127.0.0.1"
    rate: Annotated[float, Field(gt=0, le=100_000)] | None = None
    stages: Annotated[_Text, Field(max_length=100_000)] | None = None
    replay: Annotated[str, Field(min_length=1)] | None = None
    replay_field: str | None = None
    replay_speed: Annotated[float, Field(gt=0, le=1000)] | None = None
    arrivals: Literal["constant", "poisson"] = "constant"
    send_within_s: Annotated[float, Field(gt=0, le=3600)] = 1.0
    above_ceiling: bool = False
    for_s: Annotated[float, Field(gt=0, le=86_400)]
    warm_up_s: Annotated[float, Field(ge=0)] = 1.0
    load_processes: Annotated[int, Field(ge=0, le=64)] = 1
    expect_loads: Annotated[int, Field(ge=0, le=64)] = 0
    join_bind: str = "127.0.0.1:5557"
    join_s: Annotated[float, Field(gt=0, le=86_400)] = 120.0
    join_rows: Annotated[int, Field(ge=0)] = 5_000_000
    request_timeout_s: Annotated[float, Field(gt=0, le=600)] = 10.0
    max_in_flight: Annotated[int, Field(ge=1, le=60_000)] = 2000
    faults: tuple[str, ...] = ()
    slos: tuple[str, ...] = ()
    allow: tuple[Literal["noise", "few-samples"], ...] = ()
    horizon_s: Annotated[float, Field(gt=0, le=86_400)] = 120.0
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 1
    settings: dict[str, str] = {}

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        """What was not given, where it depends on the engine."""
        if not isinstance(values, Mapping):
            return values
        engine = values.get("engine") or ("command" if values.get("command") else "rust")
        defaults: dict[str, Any] = {"engine": engine}
        if engine != "command":
            defaults |= _OF_SCENARIOS
        if engine == "rust":
            defaults |= _OF_THE_BUNDLED
        return ways.fill_in({**defaults, **{name: value for name, value in values.items() if value is not None}})

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_numbers(cls, value: Any, field: ValidationInfo) -> Any:
        """A text that looks like a number is none, nor is true one: that is what the schema says, and what TOML is for."""
        wanted = {int, float, bool} & set(_plain_types(cls.model_fields[field.field_name or ""].annotation))
        if wanted and isinstance(value, (str, bool)) and type(value) not in wanted:
            kind = "float" if float in wanted else "int" if int in wanted else "bool"
            raise PydanticCustomError(f"{kind}_type", "not of this type")  # harness/complaints.py says it
        return value

    @field_validator("faults")
    @classmethod
    def _faults_are_known(cls, faults: tuple[str, ...]) -> tuple[str, ...]:
        for fault in faults:
            parse_fault(fault)
        return faults

    @field_validator("stages")
    @classmethod
    def _stages_can_be_read(cls, stages: str | None) -> str | None:
        if stages is not None:
            parse_stages(stages)
        return stages

    @field_validator("slos")
    @classmethod
    def _slos_can_be_judged(cls, slos: tuple[str, ...]) -> tuple[str, ...]:
        problems = []
        for slo in slos:
            try:
                check_slo(slo)
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise ValueError("\n  and ".join(problems))
        return slos

    @field_validator("openapi_only", "openapi_exclude")
    @classmethod
    def _operations_are_named(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            parse_pattern(pattern)
        return patterns

    @field_validator("openapi_headers")
    @classmethod
    def _headers_can_be_sent(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            check_header(name, value)
        return headers

    @model_validator(mode="after")
    def _belongs_together(self) -> Plan:
        is_command = self.engine == "command"
        given = {name for name in self.model_fields_set if getattr(self, name) not in (None, (), {})}
        if is_command and self.scenario is not None:
            msg = f"scenario {self.scenario!r} is run by an engine of its own, a command brings its app: give one of the two"
            raise ValueError(msg)
        if is_command and not self.command:
            msg = 'engine is \'command\', and there is none: write it as a list, e.g., command = ["uvicorn", "main:app"]'
            raise ValueError(msg)
        if not is_command and self.command:
            msg = f"engine {self.engine!r} runs a scenario and no command: leave the engine out"
            raise ValueError(msg)
        if not is_command and self.scenario is None:
            msg = "scenario is missing: name one, or a command"
            raise ValueError(msg)
        wrong = [*(name for name in _OF_COMMANDS if not is_command), *(name for name in _OF_SCENARIOS if is_command)]
        wrong += [name for name in _OF_THE_BUNDLED if self.engine != "rust"]
        wrong += ["loop"] if self.engine in {"rust", "command"} else []
        for name in wrong:
            if name in given:
                value = f"{name} is {getattr(self, name)!r}" if name != "requests" else "requests are given"
                msg = f"{value}, which {_who_has(name)}; the engine here is {self.engine}"
                raise ValueError(msg)
        if is_command and not self.port and not any(PORT_PLACEHOLDER in part for part in self.command):
            msg = (
                f"the command {' '.join(self.command)!r} does not say where its port goes: write {{port}} there, e.g., "
                "uvicorn main:app --port {port} (or: env PORT={port} python main.py), or name with --port N the one that it takes"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _load_is_known(self) -> Plan:
        ways.check(self.__dict__)
        if self.locustfile is not None:
            others = [name for name in ("requests", "openapi", "think_s") if getattr(self, name) not in (None, ())]
            if others:
                msg = f"a locustfile says itself what is sent and when: leave {' and '.join(others)} out"
                raise ValueError(msg)
        for name in (name for name in _OF_OPENAPI if getattr(self, name) and self.openapi is None):
            msg = f"{name} chooses from an OpenAPI schema, and none is given: say with openapi where it is"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _somebody_sends(self) -> Plan:
        if not self.load_processes and not self.expect_loads:
            msg = "load_processes is 0 and expect_loads too: nobody would send anything; let one of them be more"
            raise ValueError(msg)
        split_address(self.join_bind, "join_bind")
        return self

    @model_validator(mode="after")
    def _nothing_secret(self) -> Plan:
        for name, texts in (("openapi", [self.openapi or ""]), ("command", self.command)):
            if any(has_password(text) for text in texts):
                msg = (
                    f"{name} has a URL with a password in it, which would be written into the run directory: leave it out and"
                    f" {'send it with --header' if name == 'openapi' else 'export it in a variable, which the command inherits'}"
                )
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _times_fit(self) -> Plan:
        if why := contradiction(self.fault_plans):
            msg = f"faults: {why}"
            raise ValueError(msg)
        target = Target(self.engine, self.workers, self.pool, self.scenario is not None, self.command)
        for fault in map(parse_fault, self.faults):
            if why := unfit(fault, target):
                msg = f"fault {fault} is not possible: {why}"
                raise ValueError(msg)
        profile = self.profile
        if profile is not None and profile.expected > MOST_REQUESTS:
            what = "the stages" if self.rate is None else f"rate {self.rate:g} for {self.for_s:g} s"
            msg = f"{what} are more than {MOST_REQUESTS:,} requests: ask for fewer or shorter"
            raise ValueError(msg)
        if self.stages is not None and profile is not None and abs(profile.duration_s - self.for_s) > _SAME_S:
            msg = f"for_s is {self.for_s:g} and the stages last {profile.duration_s:g} s: leave for_s out, it follows from them"
            raise ValueError(msg)
        for slo in map(check_slo, self.slos):
            if slo.window_s is not None and slo.window_s > self.for_s - self.warm_up_s:
                msg = (
                    f"slo {slo.text} asks for windows of {slo.window_s:g} s, and {self.for_s - self.warm_up_s:g} s of load are "
                    "measured: make the windows shorter, or load longer"
                )
                raise ValueError(msg)
        if self.warm_up_s >= self.for_s:
            msg = f"warm_up_s is {self.warm_up_s:g} and the load lasts {self.for_s:g} s: nothing would be left to measure"
            raise ValueError(msg)
        return self

    @property
    def title(self) -> str:
        """What the run is called: its scenario, or the app in its command."""
        if self.scenario is not None:
            return Path(self.scenario).stem if self.scenario.endswith(".py") else self.scenario
        app = next((part for part in self.command if re.fullmatch(r"[A-Za-z_][\w.]*:[\w.()]+", part)), None)
        name = app.partition(":")[0] if app else next((part for part in self.command if part.endswith(".py")), self.command[0])
        return re.sub(r"[^\w.-]+", "-", Path(name).stem if not app else name)[:40].strip("-.") or "app"

    @property
    def is_closed(self) -> bool:
        """True if users wait for answers before they send the next request: the closed model."""
        return self.users is not None or self.locustfile is not None

    @property
    def profile(self) -> Profile | None:
        """How many requests to start per second, over time; None where that is not planned: of users, and of a replay."""
        return planned_profile(self.__dict__)

    @property
    def hidden(self) -> dict[str, str]:
        """What was left out wherever the plan is written: the variables that a later run takes it from, and the values."""
        mask = Mask()
        for headers in (*(request.headers for request in self.requests), self.openapi_headers):
            mask.headers(headers)
        return mask.variables

    @model_serializer(mode="wrap")
    def _without_secrets(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        mask = Mask()
        for request in values.get("requests", ()):
            request["headers"] = mask.headers(request["headers"])
        if "openapi_headers" in values:
            values["openapi_headers"] = mask.headers(values["openapi_headers"])
        return values

    @property
    def fault_plans(self) -> list[FaultPlan]:
        """Each single fault: those at a time in the order in which they happen, then those on a condition."""
        return occurrences([parse_fault(fault) for fault in self.faults], self.for_s)

    def to_toml(self) -> str:
        """The plan as it can be run again."""
        return tomli_w.dumps(self.plain())

    def plain(self) -> dict[str, Any]:
        """The same as plain values, without what was left open."""
        values = self.model_dump(mode="json", exclude_none=True)
        return {name: value for name, value in values.items() if value not in ([], {}) or name == "faults"}

    @classmethod
    def of(cls, values: Mapping[str, Any], where: str) -> Plan:
        """Validates. Raises UsageError naming each key, what was given and what is allowed; `where` says where it was given."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = [complaint(dict(problem), cls) for problem in error.errors()]
            raise UsageError(f"{where}: " + "\n  and ".join(problems)) from None


def read_plan(path: Path) -> dict[str, Any]:
    """The values of a plan file. Raises UsageError if there is none or it is no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        inside = path / "plan.toml"
        hint = f"it is a run directory: --plan {inside}" if inside.is_file() else None
        raise UsageError(f"cannot read the plan {path}: {error.strerror}", hint) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the plan {path} is no TOML: {error}") from None


def _plain_types(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _plain_types(part)


def _who_has(name: str) -> str:
    if name in _OF_THE_BUNDLED:
        return "only the bundled server knows (engine rust)"
    if name == "loop":
        return "only the engines uvicorn and granian take"
    return "is for scenarios alone" if name in _OF_SCENARIOS else "is for an app of your own alone (afterload run -- COMMAND)"
