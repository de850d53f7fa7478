"""The job of one load process, as the session sends it: validated values and nothing else. No clock, no file, no process."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

__all__ = ["Command", "JobError", "LoadJob", "Proposal", "RequestTemplate", "Settlement", "parse_command", "parse_job"]

MADE_BY_THE_SENDER = frozenset({"x-op-id", "host", "content-length", "transfer-encoding", "expect", "connection"})
"""Headers that a template may not set: they are the framing, or the identity, of the request."""

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

MOST_TEMPLATES = 5000
MOST_USERS = 100_000

PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class JobError(ValueError):
    """A job or a command that can't be followed. Its text is one line that names the key, what was given and what is allowed."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class RequestTemplate(_Record):
    """One kind of request. In path, header values and body `{op}` becomes the operation id, 16 hex digits, `{uuid}` a UUID made
    of it, and `{n}` the number of the request in the run, from 1.

    Several templates may have one name: they are variants of one kind.
    """

    name: str = Field(min_length=1, max_length=64)
    method: str = Field(pattern=r"^[A-Z]{1,16}$")
    path: str = Field(pattern=r"^/([!-.0-~][!-~]*)?$")
    headers: dict[str, str] = Field(default_factory=dict)
    body: str = ""
    body_file: Path | None = Field(default=None, strict=False)  # instead of `body`: the bytes of this file, as they are
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _has_one_body(self) -> RequestTemplate:
        if self.body_file is not None and (self.body or not self.body_file.is_absolute()):
            msg = f"either a body or the absolute path of a body_file, not {self.body_file}"
            raise ValueError(msg)
        return self

    @field_validator("headers")
    @classmethod
    def _headers_are_well_formed(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not TOKEN.fullmatch(name) or name.lower() in MADE_BY_THE_SENDER:
                msg = f"a header name that is a token and none of {', '.join(sorted(MADE_BY_THE_SENDER))}, not {name!r}"
                raise ValueError(msg)
            if not HEADER_VALUE.fullmatch(value):
                msg = f"printable Latin-1 text as the value of {name}"
                raise ValueError(msg)
        return headers


class LoadJob(_Record):
    """What one load process of `processes` has to send.

    Open model: every `processes`-th arrival of a schedule that all of them share: `arrivals` at `rate_per_s`, or by `stages`, or
    at the times in the file `replay`. Closed model: its part of `users`, each of which sends the next request when the one before
    has been answered; from `templates`, or as their `locustfile` says.
    """

    process: int = Field(ge=0)
    processes: int = Field(ge=1, le=64)
    host: str = Field(min_length=1, max_length=253, pattern=r"^[0-9A-Za-z.:_%\-]+$")  # a name or an address, no port, no brackets
    port: int = Field(ge=1, le=65_535)
    rate_per_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)  # of all processes together; open model
    stages: str | None = Field(default=None, min_length=1)  # the same as a profile (harness/load/stages.py)
    replay: str | None = Field(default=None, min_length=1)  # the same as times, packed (harness/load/replay.py)
    duration_s: PositiveSeconds
    arrivals: Literal["constant", "poisson"] | None = None  # open model; of a replay it says nothing any more
    send_within_s: PositiveSeconds = 1.0  # after due; what can't be sent by then is shed. Open model
    users: int | None = Field(default=None, ge=1, le=MOST_USERS)  # of all processes together; closed model
    spawn_rate_per_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)  # of all processes; none: all at once
    think_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)  # between an answer and the next request; templates only
    think_spread: Literal["constant", "exponential"] = "constant"  # exponential: with `think_s` as its mean
    locustfile: Path | None = None
    seed: int = Field(ge=0)
    run_tag: int = Field(ge=0, lt=1 << 31)  # upper bits of every op; the highest bit stays 0, it marks an op that no client made
    rows: Path
    request_timeout_s: PositiveSeconds
    max_in_flight: int = Field(ge=1, le=60_000)  # of this process; open model
    ceiling_per_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)  # of this process, as calibrated; reported back
    templates: tuple[RequestTemplate, ...] = Field(default=(), max_length=MOST_TEMPLATES)

    @property
    def is_closed(self) -> bool:
        """True for the closed model."""
        return self.users is not None or self.locustfile is not None

    @field_validator("rows", "locustfile")
    @classmethod
    def _is_absolute(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_absolute():
            msg = "an absolute path"
            raise ValueError(msg)
        return path

    @model_validator(mode="after")
    def _process_is_one_of_them(self) -> LoadJob:
        if self.process >= self.processes:
            msg = f"process below processes ({self.processes}), not {self.process}"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _is_one_model(self) -> LoadJob:
        rates = sum(each is not None for each in (self.rate_per_s, self.stages, self.replay))
        is_open = bool(rates) or self.arrivals is not None
        if is_open == self.is_closed or (is_open and (rates != 1 or self.arrivals is None)):
            msg = "either arrivals and one of rate_per_s, stages and replay (open model), or users or a locustfile (closed model)"
            raise ValueError(msg)
        if (self.locustfile is None) != bool(self.templates):
            msg = "either templates or a locustfile"
            raise ValueError(msg)
        return self


class Proposal(_Record):
    """A change of the load that is to be got ready, and not made before it is settled."""

    id: str = Field(min_length=1, max_length=64)
    from_ns: int = Field(ge=0)  # this and the next after t0
    until_ns: int = Field(ge=0)  # the load ends then
    rate_per_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)  # of all processes; open model
    users: int | None = Field(default=None, ge=0, le=MOST_USERS)  # of all processes; closed model. None: as many as before


class Settlement(_Record):
    """What becomes of a proposal, once all processes have answered it."""

    id: str
    go: bool


class Command(_Record):
    """A later line from the session: start the schedule at `t0_ns` (absolute CLOCK_MONOTONIC), stop sending, change the load."""

    t0_ns: int | None = Field(default=None, gt=0)
    stop: Literal[True] | None = None
    propose: Proposal | None = None
    settle: Settlement | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Command:
        if sum(each is not None for each in (self.t0_ns, self.stop, self.propose, self.settle)) != 1:
            msg = 'one of {"t0_ns": N}, {"stop": true}, {"propose": {...}} and {"settle": {...}}'
            raise ValueError(msg)
        return self


def parse_job(line: bytes) -> LoadJob:
    """The job in a line of JSON. Raises JobError, naming every problem."""
    try:
        return LoadJob.model_validate_json(line)
    except ValidationError as error:
        raise JobError(_in_words("job", error)) from None


def parse_command(line: bytes) -> Command:
    """The command in a line of JSON. Raises JobError, naming every problem."""
    try:
        return Command.model_validate_json(line)
    except ValidationError as error:
        raise JobError(_in_words("command", error)) from None


def _in_words(what: str, error: ValidationError) -> str:
    problems = []
    for problem in error.errors(include_url=False, include_context=False):
        key = ".".join([what, *(str(part) for part in problem["loc"])])
        allowed = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        if problem["type"] == "missing":
            problems.append(f"{key}: missing")
        elif problem["type"] == "extra_forbidden":
            problems.append(f"{key}: given, and no such key is known")
        elif problem["type"] == "json_invalid":
            problems.append(f"{what}: {allowed}")
        else:
            # This goes to a log in the run directory, where no secret may be: not even one that is malformed.
            given = "" if "headers" in problem["loc"] else f"given {_short(problem['input'])}; "
            problems.append(f"{key}: {given}allowed: {allowed}")
    return "; ".join(problems)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
