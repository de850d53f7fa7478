"""The job: what is accepted, and how a mistake in it is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.load.job import JobError, RequestTemplate, parse_command, parse_job
from harness.load.template import ReadyTemplate


def test_the_documented_job_is_accepted(job: dict[str, Any]) -> None:
    """Every key of the protocol arrives as its value."""
    parsed = parse_job(json.dumps(job).encode())

    assert parsed.model_dump(mode="json", exclude_unset=True) == job


ONE_MODEL = "allowed: either arrivals and one of rate_per_s, stages and replay (open model), or users or a locustfile (closed"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("port", 0, "job.port: given 0; allowed: greater than or equal to 1"),
        ("port", "8123", "job.port: given '8123'; allowed: a valid integer"),
        ("rate_per_s", -5, "job.rate_per_s: given -5; allowed: greater than 0"),
        ("duration_s", 0, "job.duration_s: given 0; allowed: greater than 0"),
        ("arrivals", "burst", "job.arrivals: given 'burst'; allowed: 'constant' or 'poisson'"),
        ("rows", "requests.rows", "job.rows: given 'requests.rows'; allowed: an absolute path"),
        ("run_tag", 1 << 31, "job.run_tag: given 2147483648; allowed: less than 2147483648"),
        ("templates", [], "allowed: either templates or a locustfile"),
        ("arrivals", None, ONE_MODEL),
        ("stages", "5 for 1s", ONE_MODEL),
        ("users", 5, ONE_MODEL),
        ("users", 0, "job.users: given 0; allowed: greater than or equal to 1"),
        ("colour", "red", "job.colour: given, and no such key is known"),
        ("process", 3, "allowed: process below processes (1), not 3"),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_what_is_allowed(
    job: dict[str, Any], key: str, value: object, message: str
) -> None:
    """One line: key, given, allowed."""
    with pytest.raises(JobError) as caught:
        parse_job(json.dumps({**job, key: value}).encode())

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_problem_is_named_at_once(job: dict[str, Any]) -> None:
    """A job with two mistakes and a hole needs one correction, not three."""
    del job["seed"]
    with pytest.raises(JobError) as caught:
        parse_job(json.dumps({**job, "port": 0, "host": ""}).encode())

    assert all(key in str(caught.value) for key in ("job.seed: missing", "job.port", "job.host"))


@pytest.mark.parametrize(
    "change",
    [
        {"path": "register"},
        {"path": "//elsewhere/x"},
        {"path": "/a b"},
        {"path": "/a\r\nX-Evil: 1"},
        {"method": "GET /"},
        {"headers": {"X-Op-Id": "1"}},
        {"headers": {"Content-Length": "1"}},
        {"headers": {"bad name": "1"}},
        {"headers": {"x": "a\r\nb: c"}},
        {"weight": 0},
    ],
)
def test_a_template_that_would_break_the_framing_or_the_identity_is_refused(job: dict[str, Any], change: dict[str, Any]) -> None:
    """What goes to the wire is one well-formed request with our operation id."""
    job["templates"][0].update(change)

    with pytest.raises(JobError, match=rf"job\.templates\.0\.{next(iter(change))}"):
        parse_job(json.dumps(job).encode())


def test_a_header_that_is_refused_is_not_shown(job: dict[str, Any]) -> None:
    """What is said of a job goes into a log, and a header may be a secret."""
    job["templates"][0]["headers"] = {"authorization": "Bearer hush\n"}
    with pytest.raises(JobError, match="printable Latin-1 text as the value of authorization") as caught:
        parse_job(json.dumps(job).encode())

    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"t0_ns": 0}', b"{}", b'{"stop": false}', b'{"t0_ns": 1, "stop": true}'])
def test_a_command_says_exactly_one_thing(line: bytes) -> None:
    """Anything but a start or a stop is refused."""
    with pytest.raises(JobError):
        parse_command(line)


def test_a_template_is_filled_with_the_operation_id_everywhere() -> None:
    """`{op}` in path, header values and body becomes 16 hex digits; other braces are left alone; X-Op-Id is always there."""
    template = RequestTemplate(
        name="n",
        method="PUT",
        path="/s/{op}?again={op}",
        headers={"Idempotency-Key": "k-{op}", "a": "{b}"},
        body='{"x": "{op}ü"}',
    )
    request = ReadyTemplate(template, route=1).fill(0xABC)

    assert request.path == "/s/0000000000000abc?again=0000000000000abc"
    assert request.headers == {"X-Op-Id": "0000000000000abc", "Idempotency-Key": "k-0000000000000abc", "a": "{b}"}
    assert request.body == '{"x": "0000000000000abcü"}'.encode()
