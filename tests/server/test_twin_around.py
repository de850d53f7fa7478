"""Exception handlers and middleware of an app, by both of our ways and as plain FastAPI on uvicorn: no difference."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .twin_around_app import HANDLERS, MIDDLEWARE
from .twins import JSON, Case, Twins, differences, start_twins


@pytest.fixture(scope="module")
def handlers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    """All three servers of the app with handlers."""
    with start_twins(tmp_path_factory, HANDLERS) as all_three:
        yield all_three


@pytest.fixture(scope="module")
def middleware(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    """All three servers of the app with middleware."""
    with start_twins(tmp_path_factory, MIDDLEWARE) as all_three:
        yield all_three


def raising() -> Iterator[Case]:
    """Every exception from every place, and the errors of routing and validation."""
    whats = """mine child key os teapot 404 405 409 204 500 starlette value stop nothing"""
    for what in whats.split():
        for kind in ("raise", "araise", "depraise", "yieldraise"):
            yield "raising", "GET", f"/{kind}/{what}", None, []
        yield "raising", "GET", f"/araise/{what}?n=x", None, []
    for path in ("/adetailed/5", "/ddetailed/5", "/rdetailed", "/odetailed?n=1", "/odetailed?n=1&n=2"):
        for body in (b'{"name": "n"}', b"", b"{"):
            yield "raising", "POST", path, body, JSON
    yield "raising", "GET", "/detailed/5/%C3%A4?x=1&x=2", None, []
    yield "raising", "GET", "/sdetailed", None, []
    for body in (b'{"name": "n"}', b'{"name": 1}', b"{", b"", b"[]"):
        for query in ("", "?n=x"):
            yield "raising", "POST", f"/item{query}", body, JSON
    for path in ("/bad", "/good", "/good/", "/nothing", "/item", "/openapi.json"):
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            yield "raising", method, path, None, []


ORIGINS = [
    [],
    [("origin", "https://good.example")],
    [("origin", "https://bad.example"), ("cookie", "a=1")],
    [("origin", "https://good.example"), ("accept-encoding", "gzip")],
]


def around() -> Iterator[Case]:
    """Middleware that looks on, answers, replaces, catches and raises; CORS, gzip, hosts."""
    targets = """plain plain?n=x plain?stop plain?raise plain?replace tasks tasks?stop tasks?replace tasks?raise raise/http
        raise/lookup raise/value raise/os taskraises stream stream?replace stream?stop cookie nothing plain/ openapi.json docs"""
    for target in targets.split():
        for headers in ORIGINS:
            for method in ("GET", "HEAD", "PUT"):
                yield "around", method, f"/{target}", None, headers
    for headers in ORIGINS:
        yield "around", "PUT", "/big", b"x" * 5000, headers
    for origin in ("https://good.example", "https://bad.example"):
        for asked in ("GET", "DELETE"):
            for wanted in ("x-wanted", "x-other"):
                preflight = [
                    ("origin", origin),
                    ("access-control-request-method", asked),
                    ("access-control-request-headers", wanted),
                ]
                yield "around", "OPTIONS", "/plain", None, preflight
    yield "around", "OPTIONS", "/plain", None, []


def test_handlers_of_the_app_answer_as_in_the_plain_app(handlers: Twins):
    """By status, class, base class and for everything; their tasks run, and what was added before does not."""
    found = differences(handlers, list(raising()), with_calls=True)
    assert not found, f"{len(found)} differ:\n" + "\n".join(found)


def test_middleware_is_passed_as_in_the_plain_app(middleware: Twins):
    """In the same order on the way in and out, and after the tasks."""
    found = differences(middleware, list(around()), with_calls=True)
    assert not found, f"{len(found)} differ:\n" + "\n".join(found)
