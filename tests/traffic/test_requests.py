"""Requests written as options or in a plan: which part belongs to which, what is refused, and that no secret is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from harness.errors import UsageError
from harness.plan import Plan
from harness.traffic.jobs import load_job, requested_templates
from harness.traffic.options import TrafficCommand, traffic_options
from harness.traffic.secret import Mask, is_secret, resolve


@click.command(cls=TrafficCommand)
@traffic_options
@click.pass_context
def given(context: click.Context, **options: Any) -> None:
    context.obj.update(options)


def parse(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    done = CliRunner().invoke(given, arguments, obj=found)
    assert done.exit_code == 0, done.output
    return found


def refusal(*arguments: str) -> str:
    done = CliRunner().invoke(given, arguments, obj={})
    assert done.exit_code == 2, done.output
    return " ".join(done.stderr.split()).partition("Error: ")[2]


def plan(*requests: dict[str, Any], **values: Any) -> Plan:
    base = {"command": ["serve", "{port}"], "rate": 5.0, "for_s": 5.0, "requests": requests}
    return Plan.of({**base, **values}, "test")


def test_each_part_belongs_to_the_request_before_it(tmp_path: Path) -> None:
    """click groups options by name; their order is what says to whom they belong."""
    body = tmp_path / "body.json"
    body.write_text('{"é": "{op}"}', encoding="utf-8")
    found = parse(
        "--request", "post /orders", "--body", f"@{body}", "--header", "X-One: 1", "--header", "x-two:2",
        "--request", "GET /orders/{n}", "--weight", "3",
        "--request", "PUT /x", "--body", "@@home", "--header", "X-One: again",
        "--from-openapi", "auto", "--header", "x-api-key: $KEY",
    )  # fmt: skip

    assert found["requests"] == (
        {"method": "post", "path": "/orders", "body": '{"é": "{op}"}', "headers": {"X-One": "1", "x-two": "2"}},
        {"method": "GET", "path": "/orders/{n}", "weight": 3.0},
        {"method": "PUT", "path": "/x", "body": "@home", "headers": {"X-One": "again"}},
    )
    assert (found["openapi"], found["openapi_headers"]) == ("auto", {"x-api-key": "$KEY"})


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--body", "x"), "--body belongs to the --request before it, and there is none"),
        (("--header", "a: b", "--request", "GET /"), "--header belongs to the --request before it, and there is none"),
        (("--request", "/orders"), "--request '/orders' has no method; write it as 'GET /orders'"),
        (("--request", "POST orders"), "'POST orders': 'orders' does not begin with a slash; did you mean '/orders'?"),
        (("--request", "POST http://shop/x"), "is a whole address; give its path alone"),
        (("--request", "POST //shop/x"), "begins with two slashes, which names another host"),
        (("--request", "POST /a b"), "is not a method and a path, such as 'POST /orders'; a space within the path is"),
        (("--request", "POST /é"), "has the character 'é', which must be percent-encoded"),
        (("--request", "BREW /tea"), "'BREW' is no method that can be sent; there are GET, POST"),
        (("--request", "GET /o/{order_id}"), "has the placeholder {order_id}; there are {op}, {uuid}, {n}, or write a value"),
        (("--request", "GET /", "--header", "no colon"), "a header is written as 'name: value'; this one has no colon"),
        (("--request", "GET /", "--header", "a b: c"), "'a b' is no header name"),
        (("--request", "GET /", "--header", "Host: x"), "the header Host is made by afterload for each request"),
        (("--request", "GET /", "--header", "x: 1\r\ny: 2"), "the value of the header x has a line break"),
        (("--request", "GET /", "--header", "a: 1", "--header", "A: 2"), "--request 'GET /' has two headers A"),
        (("--request", "GET /", "--body", "a", "--body", "b"), "--request 'GET /' has two --body"),
        (("--request", "GET /", "--weight", "0"), "weight: Input should be greater than 0"),
        (("--request", "POST /", "--body", "@nowhere.json"), "cannot read the file nowhere.json: No such file or directory"),
        (("--request", "POST /", "--body", '{"a": 1,}'), "the body looks like JSON and is not"),
        (("--request", "POST /", "--body", '{"a": {op}}'), '{op} stands for letters and digits and needs quotes: "{op}"'),
        (("--request", "POST /", "--body", "a", "--header", "content-type: application/json"), "the body is no JSON, as its"),
        (("--from-openapi", "auto", "--body", "x"), "--body belongs to a --request; what --from-openapi sends is made from the"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused_in_words(arguments: tuple[str, ...], expected: str) -> None:
    assert expected in refusal(*arguments)


def test_a_json_body_gets_its_content_type_and_any_other_is_left_alone() -> None:
    """Also with placeholders in it, of which `{n}` may be a number; what was given stays."""
    requests = plan(
        {"method": "POST", "path": "/1", "body": '{"id": {n}, "key": "{op}", "u": "{uuid}"}'},
        {"method": "POST", "path": "/2", "body": "a=1&b=2", "headers": {"content-type": "application/x-www-form-urlencoded"}},
        {"method": "POST", "path": "/3", "body": "{op}"},
        {"method": "POST", "path": "/4", "body": "[1]", "headers": {"Content-Type": "application/vnd.x+json"}},
    )
    templates = requested_templates(requests, {})

    assert [template["headers"] for template in templates] == [
        {"content-type": "application/json"},
        {"content-type": "application/x-www-form-urlencoded"},
        {},
        {"Content-Type": "application/vnd.x+json"},
    ]


def test_two_requests_of_one_route_are_two_kinds() -> None:
    """Names of at most 64 bytes, all different."""
    path = "/" + "x" * 80
    templates = requested_templates(plan(*({"method": "GET", "path": each} for each in ("/a", "/a", path, path))), {})

    assert [template["name"] for template in templates][:2] == ["GET /a", "GET /a #2"]
    assert len({template["name"] for template in templates}) == 4
    assert max(len(template["name"].encode()) for template in templates) == 64


def test_a_header_takes_its_value_from_the_environment() -> None:
    assert resolve("authorization", "Bearer $A-${B}x$$", {"A": "1", "B": "2"}) == "Bearer 1-2x$"
    with pytest.raises(
        ValueError, match="the header x-api-key takes its value from the environment variable KEY, which is not set"
    ):
        resolve("x-api-key", "$KEY", {"HOME": "/"})


def test_a_variable_with_a_line_break_is_refused_without_its_value() -> None:
    requests = plan({"method": "GET", "path": "/", "headers": {"authorization": "Bearer $TOKEN"}})
    with pytest.raises(ValueError, match=r"^GET /: the value of the header authorization has a line break") as caught:
        requested_templates(requests, {"TOKEN": "hush\n"})

    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["Authorization", "cookie", "X-Api-Key", "apikey", "X-Auth-Token", "x-session-id", "Proxy-Authorization"]
)
def test_headers_with_credentials_are_known_by_name(name: str) -> None:
    assert is_secret(name)
    assert not is_secret("content-type")
    assert not is_secret("accept")


def test_no_literal_secret_is_in_a_plan_that_is_written_and_it_can_be_run_again() -> None:
    """Different values get different variables, equal ones the same; what is no secret stays as it is."""
    first = plan(
        {"method": "GET", "path": "/1", "headers": {"Authorization": "Bearer hush", "Accept": "text/plain"}},
        {"method": "GET", "path": "/2", "headers": {"authorization": "Bearer other", "X-Api-Key": "hush2"}},
        {"method": "GET", "path": "/3", "headers": {"Authorization": "Bearer hush", "cookie": "s=$SESSION"}},
        openapi="auto",
        openapi_headers={"x-api-key": "hush3"},
    )  # fmt: skip
    for written in (first.to_toml(), first.model_dump_json(), repr(first), str(first.requests)):
        assert "hush" not in written
        assert "other" not in written
    assert first.hidden == {
        "AFTERLOAD_AUTHORIZATION": "Bearer hush",
        "AFTERLOAD_AUTHORIZATION_2": "Bearer other",
        "AFTERLOAD_X_API_KEY": "hush2",
        "AFTERLOAD_X_API_KEY_2": "hush3",
    }

    again = Plan.of(first.model_dump(), "again")
    environment = {**first.hidden, "SESSION": "1"}
    assert requested_templates(again, environment) == requested_templates(first, environment)
    assert again.hidden == {}
    with pytest.raises(
        ValueError, match=r"^GET /1: the header Authorization takes its value .* AFTERLOAD_AUTHORIZATION, which is not set"
    ):
        requested_templates(again, {"SESSION": "1"})


def test_a_mask_does_not_reuse_a_variable_that_means_something_else() -> None:
    assert Mask(taken=["AFTERLOAD_COOKIE"]).headers({"cookie": "a=b"}) == {"cookie": "$AFTERLOAD_COOKIE_2"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"users": 3}, "give one of the two"),
        ({"rate": None}, "rate is missing"),
        ({"spawn_rate": 2.0}, "spawn_rate is 2, which says how users go on, and there are none"),
        ({"rate": None, "locustfile": "x.py"}, "a locustfile says itself what is sent and when: leave requests out"),
        ({"openapi_only": ["GET /"]}, "openapi_only chooses from an OpenAPI schema, and none is given"),
        ({"openapi": "auto", "openapi_exclude": ["FETCH /"]}, "openapi_exclude: 'FETCH /' does not begin with a method"),
        ({"openapi": "auto", "openapi_only": ["orders"]}, "openapi_only: 'orders' has no path"),
        ({"openapi": "auto", "openapi_headers": {"a b": ""}}, "openapi_headers: 'a b' is no header name"),
    ],
)
def test_a_plan_whose_traffic_contradicts_itself_is_refused(values: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan({"method": "GET", "path": "/"}, **values)

    assert expected in str(caught.value)


def test_the_job_of_a_load_process_is_of_one_model() -> None:
    """What the load process takes: rate and arrivals, or users."""
    about: dict[str, Any] = {"process": 1, "processes": 2, "address": ("127.0.0.1", 8000), "run_tag": 7, "rows": Path("/r.rows")}
    of_rate = load_job(plan({"method": "GET", "path": "/"}), [{"name": "n"}], **about)
    of_users = load_job(plan({"method": "GET", "path": "/"}, rate=None, users=3, think_s=0.5), [{"name": "n"}], **about)
    of_file = load_job(plan(rate=None, locustfile="/mine.py"), [], **about)

    assert (of_rate["rate_per_s"], of_rate["arrivals"], of_rate["processes"], of_rate["templates"]) == (
        5.0,
        "constant",
        2,
        [{"name": "n"}],
    )
    assert (of_users["users"], of_users["think_s"]) == (3, 0.5)
    assert (of_file["locustfile"], of_file["users"]) == ("/mine.py", None)
    assert "rate_per_s" not in of_users
    assert "templates" not in of_file
