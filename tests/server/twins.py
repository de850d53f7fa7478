"""Three servers of one app: plain FastAPI on uvicorn, and the bundled one with each of its two ways."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import pytest

from harness.rows import Gauge

from .helpers import PATIENCE_S, Answer, AppServer, ask, until

Seen = tuple[int, list[tuple[str, str]], bytes]
"""Status, headers that matter, body."""

Case = tuple[str, str, str, bytes | None, list[tuple[str, str]]]
"""Group, method, target, body, headers."""

HOP = frozenset({"date", "server", "content-length", "connection", "transfer-encoding"})
"""Headers that belong to the HTTP implementation. The length is checked by reading the body."""

JSON = [("content-type", "application/json")]

STRAIGHT, GENERAL = WAYS = ("straight", "general")

_MOST_DIFFERENCES = 5
_EXPIRES = re.compile(r"(expires=)(\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT)", re.IGNORECASE)
_BOUNDARY = re.compile(rb"boundary=[0-9a-f]+|--[0-9a-f]{20,}")

QUIET = """
from appmod import app as inner

under_way = 0


async def app(scope, receive, send):
    global under_way
    if scope["type"] == "http" and scope["path"] == "/calls" and under_way:
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body"})
        return
    under_way += scope["type"] == "http"
    try:
        await inner(scope, receive, send)
    finally:
        under_way -= scope["type"] == "http"
"""
"""Round the plain app: tells what was called once everything that its requests began has ended, background tasks included."""


@dataclass(frozen=True)
class Intended:
    """A difference on purpose: which of our ways it holds for, and how to tell it from the target, the plain answer and ours."""

    ways: tuple[str, ...]
    applies: Callable[[str, Seen, Seen], bool]


@dataclass(frozen=True)
class Twins:
    """Three servers of one app."""

    plain_port: int
    ways: Mapping[str, AppServer]

    def all(
        self, method: str, target: str, body: bytes | None = None, headers: list[tuple[str, str]] | None = None
    ) -> tuple[Seen, dict[str, Seen]]:
        """What all answer: the plain one, and ours by way."""
        plain = self._seen(self.plain_port, method, target, body, headers)
        return plain, {way: self._seen(server.port, method, target, body, headers) for way, server in self.ways.items()}

    def assert_alike(
        self, method: str, target: str, body: bytes | None = None, headers: list[tuple[str, str]] | None = None
    ) -> None:
        """All answer the same."""
        plain, ours = self.all(method, target, body, headers)
        assert ours == dict.fromkeys(self.ways, plain)

    def calls(self) -> tuple[list[str], dict[str, list[str]]]:
        """What was called since this was last asked, in order, at the plain app's and at ours, once all of it has ended."""
        answer = until(lambda: _unless_busy(ask(self.plain_port, "GET", "/calls")), "the plain app is quiet")
        plain = answer.json()
        ours = {}
        for way, server in self.ways.items():
            # Exits of dependencies may come after the last task: nothing but the calls themselves tells.
            until(lambda server=server: _is_quiet(server), "its tasks have run")
            ours[way] = ask(server.port, "GET", "/calls").json()
            end = time.monotonic() + PATIENCE_S
            while ours[way] != plain and time.monotonic() < end:
                time.sleep(0.002)
                ours[way] += ask(server.port, "GET", "/calls").json()
        return plain, ours

    def _seen(
        self,
        port: int,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: list[tuple[str, str]] | None = None,
    ) -> Seen:
        try:
            answer = ask(port, method, target, body, headers)
        except (http.client.HTTPException, ConnectionError) as error:
            kind = "IncompleteRead" if isinstance(error, http.client.IncompleteRead) else "broken off"
            answer = Answer(-1, (), kind.encode())

        def value(name: str, text: str) -> str:
            if name == "allow":  # A set, whose order means nothing.
                return ", ".join(sorted(re.split(r",\s*", text)))
            if name == "set-cookie":
                text = _EXPIRES.sub(_when, text)
            return _BOUNDARY.sub(b"BOUNDARY", text.replace(f":{port}", ":PORT").encode("latin-1")).decode("latin-1")

        pairs = sorted((name, value(name, text)) for name, text in answer.headers if name not in HOP)
        return answer.status, pairs, _BOUNDARY.sub(b"BOUNDARY", answer.body.replace(b":%d" % port, b":PORT"))


def _when(expires: re.Match[str]) -> str:
    """A cookie that ends when it is sent ends a second later at a server that is asked a second later."""
    at = parsedate_to_datetime(expires[2])
    return f"{expires[1]}NOW" if abs(at.timestamp() - time.time()) < PATIENCE_S else expires[0]


def _unless_busy(answer: Answer) -> Answer | None:
    return None if answer.status == 503 else answer


def _is_quiet(server: AppServer) -> bool:
    ended = sum(server.gauge(gauge) for gauge in (Gauge.FINISHED, Gauge.FAILED, Gauge.DROPPED))
    return server.gauge(Gauge.ACCEPTED) == ended


@contextmanager
def start_twins(tmp_path_factory: pytest.TempPathFactory, source: str) -> Iterator[Twins]:
    """All servers of the app, whose source imports from FRAMEWORK. Ours stop at a task that raises, as Starlette does."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "appmod.py").write_text(source.replace("FRAMEWORK", "fastapi"), encoding="utf-8")
    (folder / "quiet.py").write_text(QUIET, encoding="utf-8")
    with (folder / "log").open("wb") as log:
        plain = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "quiet:app", "--host", "127.0.0.1", "--port", "0", "--no-access-log"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
    with ExitStack() as stack:

        def end_plain() -> None:
            os.killpg(plain.pid, signal.SIGKILL)
            plain.wait(10)

        stack.callback(end_plain)
        ways = {}
        for way in WAYS:
            options = ("--on-error", "stop", "--way", "auto" if way == STRAIGHT else way)
            ways[way] = AppServer(tmp_path_factory.mktemp(way), source.replace("FRAMEWORK", "server"), *options)
            stack.callback(ways[way].end)
        found = until(
            lambda: re.search(r"running on http://127\.0\.0\.1:(\d+)", (folder / "log").read_text(encoding="utf-8")),
            "uvicorn is ready",
        )
        yield Twins(int(found[1]), ways)


def differences(
    twins: Twins, cases: list[Case], intended: Mapping[str, Intended] | None = None, *, with_calls: bool = False
) -> list[str]:
    """The requests that are answered differently without that being intended, in words. `with_calls`: what was called, too."""
    found: list[str] = []
    for _, method, target, body, headers in cases:
        if len(found) >= _MOST_DIFFERENCES:
            found.append("and maybe more")
            break
        words = f"{method} {target[:80]} {(body or b'')[:300]!r:.120} {headers}"
        plain, ours = twins.all(method, target, body, headers)
        for way, seen in ours.items():
            if seen != plain and not reasons(intended or {}, way, target, plain, seen):
                found.append(f"{words}\n   plain:    {shown(plain)}\n   {way + ':':9} {shown(seen)}")
        if with_calls:
            called, our_calls = twins.calls()
            found += [
                f"after {words}\n   plain:    {called}\n   {way + ':':9} {calls}"
                for way, calls in our_calls.items()
                if calls != called
            ]
    return found


def reasons(intended: Mapping[str, Intended], way: str, target: str, plain: Seen, ours: Seen) -> list[str]:
    """Why it is right that these two differ."""
    return [reason for reason, one in intended.items() if way in one.ways and one.applies(target, plain, ours)]


def shown(seen: Seen) -> str:
    """What was seen, in a line."""
    return f"{seen[0]} {seen[1]} {seen[2][:400]!r}"


def unused(twins: Twins, cases: list[Case], intended: Mapping[str, Intended]) -> set[tuple[str, str]]:
    """Reasons, with the way, that no request needs."""
    left = {(reason, way) for reason, one in intended.items() for way in one.ways}
    for _, method, target, body, headers in cases:
        plain, ours = twins.all(method, target, body, headers)
        left -= {(reason, way) for way, seen in ours.items() for reason in reasons(intended, way, target, plain, seen)}
    return left
