"""Requests made from an app's schema: valid for the app itself, plain, different where it matters, the same for a seed."""

from __future__ import annotations

import asyncio
import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.load.job import RequestTemplate
from harness.load.template import ReadyTemplate
from harness.traffic.operations import chosen
from harness.traffic.plausible import narrowed, with_placeholders
from tests.traffic.shop import Order, app

ROOT = Path(__file__).resolve().parents[2]
WISH = {"source": "", "base_url": "http://127.0.0.1:9", "only": [], "exclude": [], "header_names": [], "seed": 1, "variants": 8}


def generate(folder: Path, document: object = None, **wish: Any) -> subprocess.CompletedProcess[str]:
    file = folder / "openapi.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document or app.openapi()))
    command = [sys.executable, "-m", "harness.traffic.generate"]
    said = json.dumps({**WISH, "source": str(file), **wish}) + "\n"
    # In a folder of the user's, where nothing may be left.
    home = folder / "home"
    home.mkdir(exist_ok=True)
    done = subprocess.run(
        command, cwd=home, input=said, capture_output=True, text=True, timeout=60, check=False, env={"PYTHONPATH": str(ROOT)}
    )
    assert list(home.iterdir()) == []
    return done


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    done = generate(tmp_path_factory.mktemp("made"))
    assert (done.returncode, done.stderr) == (0, "")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_app_accepts_everything_that_was_made_from_its_schema(made: dict[str, Any]) -> None:
    """Twice over, with new operation ids: what must be unique is. Uploads, forms, alternatives, recursion and all."""

    async def send_all() -> None:
        number = 0
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            for template in 2 * made["templates"]:
                number += 1
                request = ReadyTemplate(RequestTemplate.model_validate_json(json.dumps(template)), 1).fill((77 << 32) | number)
                answer = await client.request(template["method"], request.path, content=request.body, headers=request.headers)
                assert answer.status_code < 300, (template, answer.text)

    asyncio.run(send_all())
    assert made["left_out"] == []
    names = [template["name"] for template in made["templates"]]
    assert set(names) == {
        "POST /orders",
        "PUT /users/{user_id}",
        "GET /items/{item_id}",
        "POST /trees",
        "POST /form",
        "POST /upload",
        "GET /health",
    }
    assert all(names.count(name) == 8 for name in set(names) - {"GET /health"})
    assert names.count("GET /health") == 1
    # Each operation is sent as often as any other, however many variants there are of it.
    weight = {name: sum(each["weight"] for each in made["templates"] if each["name"] == name) for name in set(names)}
    assert weight == {name: pytest.approx(1) for name in weight}


def test_what_was_made_looks_like_what_people_send(made: dict[str, Any]) -> None:
    """No control characters, no properties that nobody asked for, no numbers of seventeen digits."""
    orders = [json.loads(each["body"].replace("{n}", "1")) for each in made["templates"] if each["name"] == "POST /orders"]

    for order in orders:
        assert (order["id"], order["email"]) == ("{uuid}", "{op}@example.com")
        assert set(order) <= set(Order.model_fields)
        assert 2010 <= int(order["at"][:4]) <= 2029
        assert all(line["sku"] == "{op}" and 0 < line["count"] < 100 for line in order["lines"])
    assert all(text.isprintable() for each in made["templates"] for text in (each["path"], *each["headers"].values()))
    assert {each["path"].partition("?")[0] for each in made["templates"] if each["method"] == "PUT"} == {"/users/{op}"}


def test_the_same_seed_makes_the_same_and_another_one_others(tmp_path: Path, made: dict[str, Any]) -> None:
    orders = [template for template in made["templates"] if template["name"] == "POST /orders"]
    again, other = (json.loads(generate(tmp_path, seed=seed, only=["POST /orders"]).stdout) for seed in (1, 2))

    assert again["templates"] == orders
    assert other["templates"] != orders


def test_only_what_is_chosen_is_made_and_given_headers_are_left_to_be_added(tmp_path: Path) -> None:
    done = generate(tmp_path, only=["* /users/*", "DELETE /orders/{order_id}"], header_names=["X-Trace"], variants=3)
    templates = json.loads(done.stdout)["templates"]

    assert {template["name"] for template in templates} == {"PUT /users/{user_id}", "DELETE /orders/{order_id}"}
    assert not any("x-trace" in template["headers"] for template in templates)


def test_examples_of_the_document_come_first_and_yaml_and_a_base_path_are_read(tmp_path: Path) -> None:
    document = """
openapi: 3.0.3
info: {title: t, version: "1"}
servers: [{url: "https://shop.example.com/api/v2/"}]
paths:
  /things/{thing}:
    get:
      parameters: [{name: thing, in: path, required: true, schema: {type: string}, example: lamp}]
      responses: {"200": {description: ok}}
"""
    templates = json.loads(generate(tmp_path, document, variants=2).stdout)["templates"]

    assert templates[0]["path"] == "/api/v2/things/lamp"
    assert templates[0]["name"] == "GET /api/v2/things/{thing}"


@pytest.mark.parametrize(
    ("document", "wish", "expected"),
    [
        ("<html>", {}, "neither JSON nor YAML"),
        ("[1]", {}, "is no OpenAPI document: it has no paths"),
        (None, {"only": ["POST /order"]}, "no operation of the schema is 'POST /order'; did you mean 'POST /orders'?"),
        (None, {"source": "auto"}, "the app shows no OpenAPI document (/openapi.json: "),
        (None, {"source": "http://127.0.0.1:9/x"}, "GET http://127.0.0.1:9/x: "),
    ],
)
def test_what_cannot_be_had_is_told_in_one_line(tmp_path: Path, document: Any, wish: dict[str, Any], expected: str) -> None:
    done = generate(tmp_path, document, **wish)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1


OPERATIONS = [("GET", "/orders"), ("POST", "/orders"), ("DELETE", "/orders/{id}"), ("HEAD", "/orders"), ("PATCH", "/admin/users")]


@pytest.mark.parametrize(
    ("only", "exclude", "expected"),
    [
        ((), (), ["GET /orders", "POST /orders", "PATCH /admin/users"]),
        ((), ("* /admin/*",), ["GET /orders", "POST /orders"]),
        (("/orders*",), (), ["GET /orders", "POST /orders", "DELETE /orders/{id}", "HEAD /orders"]),
        (("DELETE *", "post /orders"), (), ["POST /orders", "DELETE /orders/{id}"]),
        (("* *",), ("GET *", "HEAD *"), ["POST /orders", "DELETE /orders/{id}", "PATCH /admin/users"]),
    ],
)
def test_operations_are_chosen_by_pattern_and_none_that_deletes_by_default(
    only: tuple[str, ...], exclude: tuple[str, ...], expected: list[str]
) -> None:
    assert [" ".join(each) for each in chosen(OPERATIONS, only, exclude)] == expected


def test_a_choice_that_leaves_nothing_is_told() -> None:
    with pytest.raises(ValueError, match=r"it has DELETE /x; those that delete are sent only if named"):
        chosen([("DELETE", "/x")])
    with pytest.raises(ValueError, match="no operation of the schema is 'GET /nothing'"):
        chosen(OPERATIONS, exclude=["GET /nothing"])


@pytest.mark.parametrize(
    ("name", "schema", "expected"),
    [
        ("id", {"type": "string"}, "{op}"),
        ("orderId", {"type": "string", "maxLength": 16}, "{op}"),
        ("id", {"type": "string", "pattern": "^[0-9a-f]{16}$"}, "{op}"),
        ("id", {"type": "string", "format": "uuid"}, "{uuid}"),
        ("id", {"type": "integer"}, "{n}"),
        ("id", {"type": "integer", "minimum": 1, "maximum": 2**31}, "{n}"),
        ("email", {"type": "string", "format": "email"}, "{op}@example.com"),
        ("id", {"type": "string", "maxLength": 15}, None),
        ("id", {"type": "string", "pattern": "^[a-z]+$"}, None),
        ("id", {"type": "string", "enum": ["a", "b"]}, None),
        ("id", {"type": "integer", "maximum": 50}, None),
        ("id", {"type": "integer", "minimum": 100}, None),
        ("paid", {"type": "string"}, None),
        ("email", {"type": "string", "format": "email", "maxLength": 20}, None),
    ],
)
def test_a_placeholder_stands_only_where_everyone_of_its_values_is_allowed(
    name: str, schema: dict[str, Any], expected: str | None
) -> None:
    parameter = {"name": name, "in": "query", "schema": copy.deepcopy(schema)}
    narrow = narrowed({"paths": {"/": {"get": {"parameters": [parameter]}}}})["paths"]["/"]["get"]["parameters"][0]["schema"]
    values = [with_placeholders(str(value)) for value in narrow.get("enum", ())]

    assert (values == [expected]) if expected else (not any("{" in value for value in values))
    assert parameter["schema"] == schema, "the document itself is left alone"


def test_schemas_that_hold_together_are_left_alone() -> None:
    """Two narrower halves could leave nothing between them."""
    half = {"type": "object", "properties": {"a": {"type": "string"}}}
    document = {
        "paths": {},
        "components": {
            "schemas": {
                "Half": half,
                "Whole": {
                    "allOf": [{"$ref": "#/components/schemas/Half"}, {"type": "object", "properties": {"b": {"type": "number"}}}]
                },
            }
        },
    }

    assert narrowed(document) == document
