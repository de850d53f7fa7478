"""A pytest plugin (`-p tests.referee.plugin`): Starlette's TestClient sends its HTTP requests to the bundled server, by a socket.

Works on `_TestClientTransport.handle_request`, where the client would call the app. Apps that are no FastAPI, web sockets and
paths with a `root_path` of the client go on as before: they are counted, and named in the closing lines.
"""

from __future__ import annotations

import http.client
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import starlette.testclient as testclient
from fastapi import FastAPI

from server import Running, running

MOST_SERVERS = 24
"""Apps that are served at once. The one that has not been asked for the longest time is stopped for a new one."""

TIME_OUT_S = 30.0


class _Raised(logging.Handler):
    """What the endpoints of the served apps raised, as the server logged it."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.errors.append(record.exc_info[1])


@dataclass(frozen=True)
class _Served:
    app: FastAPI  # kept, so that its id stays its own
    shape: tuple[int, ...]
    server: Running
    stack: ExitStack


class Servers:
    """One server an app, as long as its tests ask for it."""

    def __init__(self) -> None:
        self._served: OrderedDict[int, _Served] = OrderedDict()

    def of(self, app: FastAPI) -> Running:
        """The server of this app as it is now."""
        # What a test adds to an app later is not seen by a server that has started.
        shape = len(app.routes), len(app.user_middleware), len(app.exception_handlers)
        known = self._served.get(id(app))
        if known is not None and known.shape == shape:
            self._served.move_to_end(id(app))
            return known.server
        if known is not None:
            self._stop(id(app))
        while len(self._served) >= MOST_SERVERS:
            self._stop(next(iter(self._served)))
        stack = ExitStack()
        server = stack.enter_context(running(app, pool=4, endpoint_threads=4, drain_s=5.0))
        self._served[id(app)] = _Served(app, shape, server, stack)
        return server

    def stop_all(self) -> None:
        """Drains all of them."""
        while self._served:
            self._stop(next(iter(self._served)))

    def _stop(self, key: int) -> None:
        self._served.pop(key).stack.close()


_servers = Servers()
_raised = _Raised()
_counts: Counter[str] = Counter()
_in_process: Callable[..., Any] = testclient._TestClientTransport.handle_request  # what is stood in for


def _handle_request(self: Any, request: Any) -> Any:
    app = self.app
    # TestClient wraps what does not look like an ASGI 3 app.
    if not isinstance(app, FastAPI) or request.url.scheme in ("ws", "wss") or self.root_path:
        _counts["in process"] += 1
        return _in_process(self, request)
    _counts["over the wire"] += 1
    server = _servers.of(app)
    _raised.errors.clear()
    status, headers, body = _send(server.port, request)
    # The client of the suite returns when everything is over, tasks and all.
    end = time.monotonic() + TIME_OUT_S
    while not server.is_quiet and time.monotonic() < end:
        time.sleep(0.001)
    if status == 500 and self.raise_server_exceptions and _raised.errors:
        raise _raised.errors[-1]
    return testclient.httpx.Response(status, headers=headers, content=body, request=request)


def _send(port: int, request: Any) -> tuple[int, list[tuple[str, str]], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIME_OUT_S)
    try:
        target = request.url.raw_path.decode("ascii")
        connection.putrequest(request.method, target, skip_host=True, skip_accept_encoding=True)
        body = request.read()
        headers = [
            (name, value) for name, value in request.headers.raw if name.lower() not in (b"transfer-encoding", b"connection")
        ]
        for name, value in headers:
            connection.putheader(name, value)
        if body and not any(name.lower() == b"content-length" for name, _ in headers):
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body or None)
        response = connection.getresponse()
        answer = response.read()
        # Of the HTTP implementation, and already undone by reading the body.
        hop = ("date", "transfer-encoding", "connection")
        return response.status, [pair for pair in response.getheaders() if pair[0] not in hop], answer
    finally:
        connection.close()


def pytest_configure(config: pytest.Config) -> None:
    """Puts the server in the app's place."""
    testclient._TestClientTransport.handle_request = _handle_request
    logging.getLogger("server").addHandler(_raised)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stops every server."""
    _servers.stop_all()
    testclient._TestClientTransport.handle_request = _in_process


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Says how much of the suite went over the wire."""
    terminalreporter.write_line("referee: " + ", ".join(f"{count} requests {how}" for how, count in sorted(_counts.items())))
