"""What goes through the whole app on one of our ways or on both, and as plain FastAPI on uvicorn: nobody can tell them apart."""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server._routes import compile_routes

from .twin_general_app import SOURCE
from .twins import JSON, Case, Twins, differences, start_twins

Head = tuple[str, str]


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    """All three servers."""
    with start_twins(tmp_path_factory, SOURCE) as all_three:
        yield all_three


URLENCODED = [("content-type", "application/x-www-form-urlencoded")]
MULTIPART = [("content-type", "multipart/form-data; boundary=B")]

FORMS: list[bytes] = [
    b"", b"a=1", b"a=%C3%A4&n=3", b"a=x&n=2", b"a=x&n=y", b"a=1&a=2&n=", b"a", b"=", b"&&", b"a=1;n=3", b"the-b=q&a=+", b"a=%zz",
    b"name=x", b"name=xy&tags=1&tags=2", b"name=xy&more=1", b"name=xy&age=z", b"tag=1&tag=2", b"tag=x", b"a=\xff",
    b"file=text", b"note=n",
]  # fmt: skip


def _part(name: str | None, value: bytes, *, filename: str | None = None, kind: str | None = None) -> bytes:
    disposition = "form-data" + (f'; name="{name}"' if name is not None else "")
    disposition += f'; filename="{filename}"' if filename is not None else ""
    return (
        b"--B\r\nContent-Disposition: "
        + disposition.encode()
        + b"\r\n"
        + (f"Content-Type: {kind}\r\n".encode() if kind else b"")
        + b"\r\n"
        + value
        + b"\r\n"
    )


END = b"--B--\r\n"
FILE = _part("file", b"\x00\xff text", filename="f\xe4.txt", kind="text/x")
PARTS: list[bytes] = [
    b"", END, FILE + END, FILE, FILE[:-4], FILE + b"--B", b"garbage", b"--C--\r\n",
    _part("a", b"1") + END, _part("a", b"1") + _part("n", b"4") + END, _part("a", b"") + END, _part(None, b"x") + END,
    _part("file", b"", filename="") + END, _part("file", b"", filename="empty") + END, _part("file", b"no file") + END,
    _part("files", b"1", filename="one") + _part("files", b"2", filename="two") + _part("note", b"n") + END,
    _part("name", b"xy") + _part("tags", b"1") + _part("tags", b"2") + END, _part("tag", b"1") + _part("tag", b"2") + END,
    FILE + FILE + END, _part("file", b"x" * 300_000, filename="big") + END, _part("a", b"y" * 100_000) + END,
    _part("a", b"y" * 1_100_000) + END, b"".join(_part("a", b"1") for _ in range(1001)) + END,
    b"--B\r\nno header\r\n\r\nx\r\n" + END, b"--B\r\n\r\nx\r\n" + END, b"preamble\r\n" + _part("a", b"1") + END + b"epilogue",
    _part("a", b"1").replace(b"\r\n", b"\n") + END, _part("file", b"x", filename='q\\"uo') + END,
]  # fmt: skip


TYPES = [
    "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=C", "text/plain", "",
    "application/json", 'multipart/form-data; boundary="B"; charset=latin-1', "Application/X-WWW-Form-Urlencoded; a=b",
]  # fmt: skip


def forms() -> Iterator[Case]:
    """Fields and files, whole and broken, under right and wrong types."""
    targets = """fields afields model list bytes upload dupload uploads optional raw dep tasks"""
    for target in targets.split():
        yield "forms", "POST", f"/form/{target}", None, []
        for body in FORMS:
            yield "forms", "POST", f"/form/{target}", body, URLENCODED
        for body in PARTS:
            yield "forms", "POST", f"/form/{target}", body, MULTIPART
        for kind in TYPES:
            for body in (b"a=1", FILE + END, b'{"a": 1}'):
                yield "forms", "POST", f"/form/{target}", body, [("content-type", kind)]


def streams() -> Iterator[Case]:
    """Answers in pieces, whole and broken off, and what runs after them."""
    targets = """stream/def stream/def?n=0 stream/def?n=200 stream/def?n=x stream/async stream/async?n=0 stream/async?fail=0
        stream/async?fail=2 stream/length stream/tasks stream/tasks?n=0 stream/owntask stream/bothtasks file fileclass nofile
        lines lines?n=0 lines?n=x deflines sse lifespan nolifespan"""
    for target in targets.split():
        for method in ("GET", "HEAD"):
            yield "streams", method, f"/{target}", None, []
    for ranges in ("bytes=0-9", "bytes=290-", "bytes=-5", "bytes=5-2", "bytes=900-", "bytes=0-1,5-6", "lines=1", "bytes=x"):
        yield "streams", "GET", "/file", None, [("range", ranges)]
    yield "streams", "GET", "/file", None, [("range", "bytes=0-1"), ("if-range", '"other"')]


def yields() -> Iterator[Case]:
    """Entries and exits of dependencies, tasks and errors: in which order."""
    targets = """def async tasks own function object raises raisestasks exit stream query"""
    for target in targets.split():
        for query in ("", "?n=1", "?n=2", "?n=3", "?n=x", "?what=http", "?what=key", "?what=http&n=3", "?what=value&n=3"):
            yield "yields", "GET", f"/yield/{target}{query}", None, []
    yield "yields", "GET", "/limited?n=5", None, []


def routes() -> Iterator[Case]:
    """Mounts, routers within routers, other kinds of routes; methods and slashes."""
    paths = """/sub /sub/ /sub/items/5 /sub/items/x /sub/items/5/ /sub/raises /sub/nothing /sub/openapi.json /sub/docs /subitems/5
        /star/a/5 /star/a/x /star/b /star /bare/x /bare/x/ /bare /added /added/ /asgi /asgi/ /asgi/x/y /convert/5/a/b /convert/5/
        /convert/x/a /convert/5 /float/1.5 /float/1 /float/x /file.txt /file. /file /v1/outer/t/more/inner
        /v1/outer/t/more/inner/
        /v1/outer/t/more/inner/5 /v1/outer/t/more/inner/5/ /v2/outer/ä/more/inner/5?q=z /v2/outer/t/more/inner/x
        /v2/outer//more/inner/5
        /v1/outer/t/more/inner/both /v1/outer/t/more/inner/both/ /outer/t/more/inner/5 /strict /strict/ /strict// /many /many/
        /headonly /getter /getter/ /nothing /openapi.json /docs"""
    for path in paths.replace("ä", "%C3%A4").split():
        for method in ("GET", "HEAD", "POST", "OPTIONS", "PUT"):
            yield "routes", method, path, None, []


MODELS = """filtered list dict union union2 deep unset defaults none include exclude excludelist aliased unaliased attributes
attributesalias page wrongpage optional notoptional literal int bytes status class deepdefault annotated returned union3 response
cookies cookiesjson"""


def models() -> Iterator[Case]:
    """Response models and their options, responses returned and injected."""
    for target in MODELS.split():
        for method in ("GET", "HEAD"):
            yield "models", method, f"/model/{target}", None, []


TYPED = (
    "p=1||p=0&q=0|p=1&k=s&k=B|p=1&k=x&k=s|p=1&o=1&o=2|p=1&o=1&o=2&o=3|p=1&s=|p=1&s=abcd|p=1&s=b&lit=x|p=1&lit=2|p=1&lit=3"
    "|p=1&d-d=1|p=1&d=1|p=1&p=2|p=1&lit=1.0|p=1&k="
)


def types() -> Iterator[Case]:
    """Annotated, enums, constraints, lists, defaults."""
    for kind in ("B", "s", "b", "big", ""):
        for n in ("3", "4", "0", "12", "x"):
            for query in TYPED.split("|"):
                yield "types", "GET", f"/types/a/{kind}/{n}?{query}", None, []
    bodies: list[Any] = [
        ["B"], ["B", "s", "B"], [], {"kinds": ["B"]}, {"kinds": ["x"], "extra": {"x": 1}}, {"kinds": [], "extra": {"1": "2"}},
        {"kinds": "B"}, {"kinds": ["s"], "extra": None}, None, 5,
    ]  # fmt: skip
    for body in bodies:
        for headers in ([], [("h", "3"), ("h", "4")], [("h", "x")], [("cookie", "c=B")], [("cookie", "c=x"), ("h", "1, 2")]):
            yield "types", "POST", "/types/b", json.dumps(body).encode(), [*JSON, *headers]


CASES = [case for cases in (forms, streams, yields, routes, models, types) for case in cases()]


@pytest.mark.parametrize("group", dict.fromkeys(case[0] for case in CASES))
def test_no_request_is_answered_differently(twins: Twins, group: str):
    """Status, headers, body, and the order in which the app's callables, exits and tasks were called."""
    found = differences(twins, [case for case in CASES if case[0] == group], with_calls=True)
    assert not found, f"{len(found)} differ:\n" + "\n".join(found)


def test_what_can_go_straight_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Response models, types and routers are compared by both ways; forms, streams, exits and mounts have but the general one."""
    (tmp_path / "general_app.py").write_text(SOURCE.replace("FRAMEWORK", "server"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with warnings.catch_warnings():
        # Of FastAPI, that one function has several methods.
        warnings.simplefilter("ignore", UserWarning)
        specs = compile_routes(importlib.import_module("general_app").app)
    by_group: dict[str, set[bool]] = {}
    for spec in specs:
        by_group.setdefault(spec.path.split("/")[1], set()).add(spec.general is not None)
    assert {group for group, general in by_group.items() if True not in general} >= {
        "model",
        "types",
        "v1",
        "v2",
        "strict",
        "calls",
    }
    assert {group for group, general in by_group.items() if False not in general} >= {
        "form",
        "yield",
        "sub",
        "star",
        "asgi",
        "convert",
    }


HYPOTHESIS = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
names = st.sampled_from(["a", "n", "the-b", "name", "tags", "age", "tag", "file"])
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


@HYPOTHESIS
@given(st.lists(st.tuples(names, texts), max_size=4))
def test_any_form_is_read_as_by_the_plain_app(twins: Twins, pairs: list[tuple[str, str]]):
    """Fields once, twice, never, in either encoding."""
    for target in ("fields", "model", "list", "raw"):
        twins.assert_alike("POST", f"/form/{target}", urlencode(pairs).encode(), URLENCODED)
        parts = b"".join(_part(name, value.encode()) for name, value in pairs)
        twins.assert_alike("POST", f"/form/{target}", parts + END, MULTIPART)


@HYPOTHESIS
@given(st.binary(max_size=60), st.sampled_from([b"", b"--B\r\n", FILE, _part("a", b"1")]))
def test_any_bytes_as_a_form_are_judged_as_by_the_plain_app(twins: Twins, data: bytes, before: bytes):
    """Also what has no end, no names, no sense."""
    for target in ("fields", "upload"):
        twins.assert_alike("POST", f"/form/{target}", before + data, MULTIPART)
        twins.assert_alike("POST", f"/form/{target}", data, URLENCODED)
