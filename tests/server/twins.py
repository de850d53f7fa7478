"""Two servers of one app: the bundled one, and plain FastAPI on uvicorn."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from harness.rows import Gauge

from .helpers import Answer, AppServer, ask, until

Seen = tuple[int, list[tuple[str, str]], bytes]
"""Status, headers that matter, body."""

Case = tuple[str, str, str, bytes | None, list[tuple[str, str]]]
"""Group, method, target, body, headers."""

HOP = frozenset({"date", "server", "content-length", "connection", "transfer-encoding"})
"""Headers that belong to the HTTP implementation. The length is checked by reading the body."""

JSON = [("content-type", "application/json")]


@dataclass(frozen=True)
class Twins:
    """Two servers of one app."""

    ours: AppServer
    ours_port: int
    plain_port: int

    def both(
        self, method: str, target: str, body: bytes | None = None, headers: list[tuple[str, str]] | None = None
    ) -> tuple[Any, Any]:
        """What both answer: status, headers that matter, body. The plain one first."""
        return tuple(
            self._seen(self._ask(port, method, target, body, headers), port) for port in (self.plain_port, self.ours_port)
        )  # type: ignore[return-value]

    def is_quiet(self) -> bool:
        """Whether every task that ours accepted has ended."""
        ended = sum(self.ours.gauge(gauge) for gauge in (Gauge.FINISHED, Gauge.FAILED, Gauge.DROPPED))
        return self.ours.gauge(Gauge.ACCEPTED) == ended

    @staticmethod
    def _ask(port: int, method: str, target: str, body: bytes | None, headers: list[tuple[str, str]] | None) -> Answer:
        try:
            return ask(port, method, target, body, headers)
        except http.client.HTTPException as error:
            return Answer(-1, (), repr(error).encode())

    @staticmethod
    def _seen(answer: Answer, port: int) -> Seen:
        def value(name: str, text: str) -> str:
            if name == "allow":  # A set, whose order means nothing.
                return ", ".join(sorted(re.split(r",\s*", text)))
            return text.replace(f":{port}", ":PORT")

        headers = sorted((name, value(name, text)) for name, text in answer.headers if name not in HOP)
        return answer.status, headers, answer.body.replace(b":%d" % port, b":PORT")


@contextmanager
def start_twins(tmp_path_factory: pytest.TempPathFactory, source: str) -> Iterator[Twins]:
    """Both servers of the app, whose source imports from FRAMEWORK."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "appmod.py").write_text(source.replace("FRAMEWORK", "fastapi"), encoding="utf-8")
    with (folder / "log").open("wb") as log:
        plain = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "appmod:app", "--host", "127.0.0.1", "--port", "0", "--no-access-log"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
    ours: AppServer | None = None
    try:
        ours = AppServer(tmp_path_factory.mktemp("ours"), source.replace("FRAMEWORK", "server"))
        found = until(
            lambda: re.search(r"running on http://127\.0\.0\.1:(\d+)", (folder / "log").read_text(encoding="utf-8")),
            "uvicorn is ready",
        )
        yield Twins(ours, ours.port, int(found[1]))
    finally:
        os.killpg(plain.pid, signal.SIGKILL)
        plain.wait(10)
        if ours is not None:
            ours.end()


def differing(
    twins: Twins, cases: list[Case], intended: Callable[[str, Seen, Seen], bool], after: Callable[[], Any] | None = None
) -> list[str]:
    """The requests that are answered differently without that being intended, in words. `after` is compared likewise."""
    differences = []
    for _, method, target, body, headers in cases:
        plain, ours = twins.both(method, target, body, headers)
        if plain != ours and not intended(target, plain, ours):
            differences.append(f"{method} {target[:80]} {body or b''!r:.120} {headers}\n   plain: {plain}\n   ours:  {ours}")
        elif after is not None:
            plain, ours = after()
            if plain != ours:
                differences.append(f"after {method} {target[:80]} {headers}\n   plain: {plain}\n   ours:  {ours}")
    return differences
