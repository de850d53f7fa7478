"""What apps have beside simple parameters and one JSON body, straight and as plain FastAPI: nobody can tell them apart."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server._routes import compile_routes

from .helpers import until
from .twin_wide_app import SOURCE
from .twins import JSON, WAYS, Case, Twins, differences, start_twins

Head = tuple[str, str]


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    """All three servers."""
    with start_twins(tmp_path_factory, SOURCE) as all_three:
        yield all_three


JARS = """
a=1|a=1; b=2|a=1;b=x|a=1; a=2|a|=a|a=| a = 1 ; the-c=ü|a="q\\"uo\\054ted"|a="|b="x"; a=2|A=1|a=b=c|a=1; the-c=\x85\xa0x|;;a=1;;|
session=s|session=s; fat=1|session=s; fat=x; more=1
"""

QUERIES = """
?|?n=1|?n=1&n=2|?n=1&n=x&n=y|?n=|?n=&n=1|?n=1&n=1&n=2&n=3|?n=[1,2]|?n=[|?N=1|?n[]=1|?n=5|?n=%C3%A4&n=%FF|?one=1|?two=2|?two=2&one=1|
?three=x|?shown=1|?read=2|?shown=1&read=2|?limit=5|?limit=0|?limit=5&tags=a&tags=b|?tags=a|?order_by=x&more=1|?a=2&b=3&b=4|?a=x|
?limit=5&limit=6|
"""

ITEM, ACCOUNT = {"name": "n", "price": 2}, {"login": "l"}

BODIES: list[bytes | None] = [None, b"", b"null", b"[]", b"1", b'"s"', b"{", b"{}", b"\xff", b"NaN"] + [
    json.dumps(value).encode()
    for value in (
        ITEM, ACCOUNT, [ITEM], [ITEM, ITEM], [ACCOUNT], {**ITEM, **ACCOUNT}, {"name": 1},
        {"item": ITEM}, {"item": ACCOUNT}, {"item": None}, {"item": ITEM, "account": ACCOUNT}, {"item": ITEM, "account": None},
        {"item": ITEM, "account": ACCOUNT, "n": 3}, {"item": ITEM, "n": 1}, {"item": ITEM, "n": "x"},
        {"a": 1}, {"a": "1", "the-b": "x"}, {"a": 1, "b": "y"}, {"a": 1, "the_b": "y"}, {"a": 1, "the-b": 5}, {"b": [1]},
        {"a": 2, "b": [1]}, {"x": 1}, {"y": 2}, {"x": 1, "y": "z"}, {"x": "q", "b": 2}, {"k": 1}, {"k": "x"},
    )
]  # fmt: skip

TYPES: list[list[Head]] = [[], *([("content-type", value)] for value in ("", "text/plain", "application/x+json"))]


def _split(text: str) -> list[str]:
    return text.replace("\n", "").split("|")


def parameters() -> Iterator[Case]:
    """Cookies, lists, aliases, models."""

    def get(target: str, *headers: Head) -> Case:
        return "parameters", "GET", target, None, list(headers)

    for target in ("/cookie", "/acookie", "/cookies", "/cmodel"):
        yield get(target)
        for jar in _split(JARS):
            yield get(target, ("cookie", jar))
        yield get(target, ("cookie", "a=1"), ("cookie", "b=3; a=4; session=x"))
    for target in _split("list|listdef|listopt|set|tuple|json|choices|validation|qmodel|qmodelopt|qextra"):
        for query in _split(QUERIES):
            yield get(f"/{target}{query}")
    for target in ("/hlist", "/hchoices", "/hmodel"):
        yield get(target)
        yield get(target, ("x-many", "a"))
        yield get(target, ("x-many", "a"), ("X-Many", "b, c"), ("x-many", ""))
        yield get(target, ("x-one", "1"))
        yield get(target, ("x_two", "2"), ("x-one", "1"))
        yield get(target, ("x-two", "2"))
        yield get(target, ("x-token", "t"), ("save-data", "yes"), ("x-tag", "a"), ("x-tag", "b"))
        yield get(target, ("x-token", "t"), ("save_data", "yes"), ("x-tag", "ü"))
        yield get(target, ("x_token", "t"))


def bodies() -> Iterator[Case]:
    """Bodies in parts, optional bodies, bodies without a type."""
    targets = """embed embedopt two atwo scalars defaults choicesbody optional optionaldef items any dict union lenient lenientany
        depbody depbodytwice depbodies"""
    for target in targets.split():
        for body in BODIES:
            yield "bodies", "PUT", f"/{target}", body, JSON
        for headers in TYPES:
            for body in (b"", b"{", json.dumps(ITEM).encode(), json.dumps({"item": ITEM, "account": ACCOUNT}).encode()):
                yield "bodies", "PUT", f"/{target}", body, headers
    huge, long = b"1" * 309, b"1" * 308
    for number in (b"1e5", b"1.50", huge, b"-" + huge, long, huge + b".0", b"1e999", b'"' + huge + b'"'):
        for body in (b'{"text": %b}' % number, b'{"number": %b}' % number):
            yield "bodies", "PUT", "/written", body, JSON
        yield "bodies", "PUT", "/numbers", b"[%b]" % number, JSON


def dependencies() -> Iterator[Case]:
    """Order, caching, errors before and after the first call, context variables, tasks."""
    targets = """dep adep mixed amixed nested nocache nocachefirst class checker checkers partial raises araises decorated/1
        decorated/x guarded/one onlydeptasks tasks deptasks contexts defcontexts mixedcontexts offloop waits override"""
    users: list[list[Head]] = [[], [("x-user", "ann")], [("x-user", "bad")]]
    for target in targets.split():
        for query in _split("|?n=1|?n=2|?n=4|?n=6|?n=x|?skip=3&limit=100|?limit=101|?skip=x&n=4|?q=5&size=2|?q=x"):
            for headers in users:
                yield "dependencies", "GET", f"/{target}{query}", None, headers
    for on in ("true", "false"):
        yield "dependencies", "POST", f"/override/{on}", None, []
        for target in ("/override", "/override?n=1", "/dep", "/mixed"):
            yield "dependencies", "GET", target, None, []


def security() -> Iterator[Case]:
    """FastAPI's schemes."""
    values = ("Bearer abc", "bearer  abc", "Bearer", "Bearer no", "Basic dTpw", "Basic dTo=", "Basic !!", "Basic", "", "abc")
    for target in ("/me", "/bearer", "/httpbearer", "/basic", "/keys", "/keys?key=q", "/key", "/myscheme"):
        yield "security", "GET", target, None, []
        yield "security", "GET", target, None, [("x-key", "k"), ("cookie", "key=c")]
        for value in values:
            yield "security", "GET", target, None, [("authorization", value)]


def injected() -> Iterator[Case]:
    """Request, Response, HTTPConnection."""
    for query in ("", "?n=5", "?n=6", "?m=1", "?m=2", "?m=3", "?m=4", "?n=5&m=2", "?n=5&m=3", "?n=x", "?m=x"):
        yield "injected", "GET", f"/response{query}", None, []
    for target in (
        "/aresponse",
        "/request/1/b",
        "/request/1/%C3%A4%20b?x=1&x=2&y=%C3%A4",
        "/request/x/b",
        "/state",
        "/connection",
    ):
        yield "injected", "GET", target, None, [("x-h", "h"), ("cookie", "a=1")]
    for target in ("/client", "/client/"):
        for proto in ("https", "http", " https ", "wss", "gopher", ""):
            yield "injected", "GET", target, None, [("x-forwarded-proto", proto)]
        yield "injected", "GET", target, None, [("x-forwarded-proto", "https"), ("X-Forwarded-Proto", "http")]
        for named in ("1.2.3.4", "1.2.3.4:55", "9.9.9.9, 1.2.3.4, 127.0.0.1", "127.0.0.1", "[2001:db8::1]:443", "2001:db8::1",
                "unknown", "", ",", "1.2.3.4:x", "[::1", "[::1]x", "a:b:c"):  # fmt: skip
            yield "injected", "GET", target, None, [("x-forwarded-for", named)]
        yield "injected", "GET", target, None, [("x-forwarded-for", "9.9.9.9"), ("x-forwarded-for", "1.2.3.4")]
    for target in ("/requestbody", "/requestjson", "/requeststream", "/requestboth", "/requestgone"):
        for body in (b"", b'{"name": "n"}', b'{"name": 1}', b"{", b"x" * 100_000):
            yield "injected", "POST", target, body, JSON


def answers() -> Iterator[Case]:
    """Response classes."""
    targets = """html ahtml plain plain?n=1 plain?n=x redirect redirect302 returnedredirect ownjson ownjsonplain pretty
        prettyplain prettybad html204 bare responses responses?n=1 classy classyitem openapi.json"""
    for target in targets.split():
        yield "answers", "GET", f"/{target}", None, []


def errors() -> Iterator[Case]:
    """Handlers of the app by class, base class and status, `def` and `async def`; what has none."""
    for what in _split("mine|child|key|teapot|starlette|starlette418|unseen|404|500|204|nothing"):
        for kind in ("raise", "araise", "depraise"):
            yield "errors", "GET", f"/{kind}/{what}", None, []


CASES = [case for cases in (parameters, bodies, dependencies, security, injected, answers, errors) for case in cases()]


@pytest.mark.parametrize("group", dict.fromkeys(case[0] for case in CASES))
def test_no_request_is_answered_differently(twins: Twins, group: str):
    """Status, headers, body, and the order in which the app's callables and tasks were called."""
    found = differences(twins, [case for case in CASES if case[0] == group], with_calls=True)
    assert not found, f"{len(found)} differ:\n" + "\n".join(found)


HYPOTHESIS = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
latin_1 = st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f")
names = st.sampled_from(["a", "b", "the-c", "session", "fat", ""])
pairs = st.lists(
    st.tuples(st.sampled_from(["n", "limit", "tags", "order_by", "one", "two", "x"]), st.text(max_size=4)), max_size=5
)
texts = st.text(st.characters(codec="utf-8"), max_size=3)
numbers = st.integers(-3, 5) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
values = st.none() | numbers | texts | st.lists(numbers, max_size=2) | st.fixed_dictionaries({"name": texts}) | st.just(ACCOUNT)
keys = st.sampled_from(["item", "account", "n", "a", "b", "the-b", "x", "y", "name", "login"])


@HYPOTHESIS
@given(st.lists(st.text(latin_1, max_size=8) | st.builds("{}={}".format, names, st.text(latin_1, max_size=6)), max_size=5))
def test_any_jar_of_cookies_is_read_as_by_the_plain_app(twins: Twins, jar: list[str]):
    """Quotes, blanks, empty names, cookies twice."""
    for target in ("/cookie", "/cmodel"):
        twins.assert_alike("GET", target, None, [("cookie", ";".join(jar).strip())])


@HYPOTHESIS
@given(pairs)
def test_any_query_is_collected_as_by_the_plain_app(twins: Twins, given_pairs: list[tuple[str, str]]):
    """Names once, twice, never, with values of every kind."""
    for target in ("/list", "/listopt", "/qmodel", "/choices"):
        twins.assert_alike("GET", f"{target}?{urlencode(given_pairs, errors='replace')}")


@HYPOTHESIS
@given(st.dictionaries(keys, values, max_size=5))
def test_any_body_is_taken_apart_as_by_the_plain_app(twins: Twins, body: dict[str, Any]):
    """Parts that are there, missing, null, or of another type."""
    for target in ("/embedopt", "/atwo", "/scalars", "/defaults", "/choicesbody", "/depbodies"):
        twins.assert_alike("PUT", target, json.dumps(body).encode(), JSON)


@pytest.mark.parametrize("way", WAYS)
def test_an_answer_that_does_not_fit_its_model_is_logged_with_the_endpoint_that_gave_it(twins: Twins, way: str):
    """As FastAPI's own error says it: the file, the function, the method and the path."""
    server = twins.ways[way]
    server.ask("GET", "/prettybad")
    until(lambda: "in pretty_bad\n" in server.stderr(), "the error is logged")
    assert "GET /prettybad\n" in server.stderr().partition("in pretty_bad\n")[2][:60]


def test_every_route_of_the_app_goes_straight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Otherwise this would compare FastAPI with itself. (All but those that may want to read their body as it arrives.)"""
    (tmp_path / "wide_app.py").write_text(SOURCE.replace("FRAMEWORK", "server"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    specs = compile_routes(importlib.import_module("wide_app").app)
    general = {str(spec) for spec in specs if spec.general}
    assert general == {f"POST /request{name}" for name in ("body", "gone", "json", "stream")}
