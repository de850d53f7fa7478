"""The schema of capacity.json: pydantic models, nothing else. Rates are per second; a duration's unit is in its name."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from harness.records import Number, Record

__all__ = [
    "SCHEMA_VERSION",
    "Answer",
    "Capacity",
    "Cause",
    "Configuration",
    "GrowthSeen",
    "Kind",
    "LimitSeen",
    "Measured",
    "Number",
    "Point",
    "PointStanding",
    "PoolAdvice",
    "Predicted",
    "Prediction",
    "State",
]

SCHEMA_VERSION: Final = 1


class GrowthSeen(Record):
    """How fast what is pending grew, in requests: due and unanswered, or with tasks that were accepted and have not ended."""

    per_s: float
    low: float
    high: float
    seconds: float = Field(description="of load that were looked at")
    mean: float = Field(description="pending, over that time")
    unit: float = Field(
        default=1.0,
        description="requests that a pending task stands for, where not each leaves one; 1: else, or of answers alone",
    )


class LimitSeen(Record):
    """One limit in one stage."""

    text: str
    holds: bool | None = Field(description="null: it cannot be told by this stage")
    sure: bool = Field(description="chance alone would not have made it so")
    value: Number = Field(description="as measured; null: none, or at least that share never ended")
    limit: Number
    unit: str
    why: str = ""


Kind = Literal["pool", "loop", "gil", "cpu", "world", "server", "responses", "generator", "unknown"]


class Cause(Record):
    """What gives way first."""

    kind: Kind
    text: str = Field(description="in words, with the figures that it rests on")
    evidence: dict[str, Any] = Field(default={})


class Measured(Record):
    """One stage: a run of its own, with a server of its own."""

    number: int = Field(description="from 1, in the order in which they were run")
    purpose: Literal["bracket", "bisect", "repeat", "confirm", "above", "fault"]
    rate: float = Field(description="requests that were due per second")
    seconds: float = Field(description="of load after the warm-up; of a hopeless stage, until it was ended")
    ended_early: bool = Field(default=False, description="hopeless: what waited grew and grew")
    growth: GrowthSeen | None = Field(description="null: the stage was too short for the load to settle")
    settling_s: float = Field(
        default=0.0,
        description="of `seconds`: what came in first had not ended, so what was pending filled up; left out of growth. Where"
        " tasks may hang: for so long after the warm-up they were watched, beyond the end of the load as well",
    )
    may_hang: bool = Field(
        default=False,
        description="tasks that came in first never ended while they were watched: whether they take long or hang is not known",
    )
    limits: tuple[LimitSeen, ...] = ()
    generator: str = Field(default="", description="why the stage says nothing: the load generator could not send it")
    unseen: str = Field(default="", description="why more may be pending than was seen; empty: all of it was seen")
    answers_only: bool = Field(default=False, description="the server tells nothing of what it does after it has answered")
    died: str = Field(default="", description="how the server died under it")
    cause: Cause | None = Field(default=None, description="what gave way; null: nothing did")
    could_per_s: Number = Field(
        default=None,
        description="requests/s that the stage's figures let expect: what got done while work waited, or threads / run time",
    )
    answered_per_s: Number = None
    accepted_per_s: Number = Field(default=None, description="tasks per second; where there are none, requests that were due")
    ended_per_s: Number = Field(default=None, description="tasks done per second; where there are none, answers")
    response_p50_ms: Number = None
    response_p99_ms: Number = None
    done_p50_ms: Number = None
    done_p95_ms: Number = None
    run_mean_ms: Number = Field(default=None, description="mean time that a task held its thread")
    pool_size: int = 0
    processes: int = Field(default=1, description="that accepted tasks")
    busy_mean: Number = None
    cpu_share: Number = Field(default=None, description="of one core, by the server's processes")
    load_cpu_share: Number = None
    loop_lag_p99_ms: Number = None
    pending_mean: Number = Field(default=None, description="tasks accepted and not ended: what a kill would lose on average")
    pending_end: int = Field(default=0, description="the same when the load ended: what a kill then would have lost")
    tasks_per_request: Number = None
    noisy_share: Number = Field(default=None, description="of the time, in which other programs left so little that it waited")
    lost: int | None = Field(default=None, description="measured, where a fault was asked for; null: none was")
    run: str = Field(default="", description="run directory of the stage, below that of the search")
    took_s: float = Field(default=0.0, description="with starting, draining and stopping")


State = Literal["found", "at least", "none", "unclear", "unfinished"]


class Answer(Record):
    """The capacity. `low` is shown to hold, `high` is shown not to."""

    state: State = Field(
        description="found; at least: the generator (or --most) ends before the server is shown to; none: not even the lowest"
        " rate holds; unclear: what was seen held, and something that has to hold could not be seen, or no rate was shown not to"
        " hold; unfinished: interrupted, out of stages, or no longer stage confirmed the rate"
    )
    low: Number = Field(description="requests/s: so many are shown to be kept up with; null: no rate is")
    found: Number = Field(description="the highest rate that held")
    confirmed: bool = Field(description="a longer stage at that rate held")
    high: Number = Field(description="the lowest rate that is shown not to hold; null: none was")
    confidence: float = 0.95
    spread: float = Field(
        default=0.0, description="how much the server's best differs from stage to stage, beyond chance within one: a share of it"
    )
    cause: Cause | None = None
    why: str = Field(default="", description="why it cannot be told whether a rate holds; empty: it can")
    answers_only: bool = Field(default=False, description="the server told nothing of the work behind the answers, at any rate")
    text: str = ""


class Predicted(Record):
    """What queueing lets expect at one rate, in the long run. Of wait and run alone: without the answer before it."""

    rate: float
    utilisation: Number
    wait_mean_ms: Number
    wait_p95_ms: Number
    done_p50_ms: Number
    done_p95_ms: Number
    pending: Number = Field(description="waiting and running on average: what a kill would lose")


class Prediction(Record):
    """From run times that were measured at a rate that holds, by simulation of a queue with as many servers as threads."""

    capacity_per_s: Number
    pool_per_s: Number = Field(description="threads / mean run time")
    cpu_per_s: Number = Field(description="what one core for each process can compute; null: no limit is known")
    computes: bool = Field(description="the interpreter ends before the threads: more threads would not help")
    threads: int
    measured_at: float
    runs: int
    run_mean_ms: Number = Field(description="for which a request holds threads, on average of all")
    run_ms: dict[str, Number] = Field(description="quantiles of that time, of the requests that leave tasks for them")
    arrivals: Literal["constant", "poisson"]
    curve: tuple[Predicted, ...]
    text: str


class PoolAdvice(Record):
    """How many threads a rate needs."""

    rate: float
    pool: int | None = Field(
        description="of each process (--pool): the smallest by which p95 of the time until done holds its limit; null: none does"
    )
    comfortable: int | None = Field(default=None, description="of each process, by which they are in use for three quarters")
    processes: int
    done_p95_limit_ms: Number
    done_p95_ms: Number = None
    utilisation: Number = None
    text: str


PointStanding = Literal["holds", "seems to hold", "seems not to", "does not hold", "not sent", "not settled", "not tried"]


class Point(Record):
    """All stages at one rate together."""

    rate: float
    standing: PointStanding = Field(
        description="not sent: the load generator could not; not settled: stages were too short; not tried: with a fault alone"
    )
    stages: int
    response_p99_ms: Number = Field(description="median of its stages; null: none was answered")
    done_p95_ms: Number
    growth_per_s: Number = Field(description="of what is pending")
    growth_low: Number
    growth_high: Number
    at_kill: Number = Field(description="tasks accepted and not ended, on average: what a kill would lose")
    lost: int | None = Field(default=None, description="measured, where a fault was asked for; null: none was")


class Configuration(Record):
    """One configuration, and what was found."""

    label: str = Field(description="what is varied, e.g., pool=8; empty: nothing is")
    plan: dict[str, Any]
    answer: Answer
    curve: tuple[Point, ...]
    stages: tuple[Measured, ...]
    prediction: Prediction | None = Field(default=None, description="null: no tasks ran in threads, or too few")
    pool: PoolAdvice | None = Field(default=None, description="of the rate that was asked for with --target-rate")


class Capacity(Record):
    """The whole of capacity.json."""

    schema_version: Literal[1] = SCHEMA_VERSION
    title: str
    began: str
    within: float = Field(description="so narrow the interval was to be, as a share")
    limits: tuple[str, ...] = Field(description="beside a bounded backlog")
    environment: dict[str, Any]
    configurations: tuple[Configuration, ...]
