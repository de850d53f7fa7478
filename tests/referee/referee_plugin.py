"""A pytest plugin: Starlette's TestClient sends its requests to the bundled server, over real sockets.

Works on `_TestClientTransport.handle_request`, where the client would call the app. Loaded by `python -m tests.referee` under
this name, because the suite that is run has a package `tests` of its own. Clients with a `root_path` go on as before, and so do
apps of ASGI 2: they are counted.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import socket
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import starlette.testclient as testclient
from starlette.applications import Starlette
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from server import Running, running

MOST_SERVERS = 24
"""Apps that are served at once. The one that has not been asked for the longest time is stopped for a new one."""

TIME_OUT_S = 30.0

HOP = ("date", "transfer-encoding", "connection")
"""Headers of the HTTP implementation, already undone by reading the body."""


class _Raised(logging.Handler):
    """What the endpoints and tasks of the served apps raised, as the server logged it. TestClient raises it."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.errors.append(record.exc_info[1])


@dataclass(frozen=True)
class _Served:
    app: Any  # kept, so that its id stays its own
    shape: tuple[int, ...]
    server: Running
    stack: ExitStack


class Servers:
    """One server an app, as long as its tests ask for it."""

    def __init__(self, way: str) -> None:
        self._served: OrderedDict[int, _Served] = OrderedDict()
        self._way = way

    def of(self, app: Any) -> Running:
        """The server of this app as it is now."""
        # What a test adds to an app later is not seen by a server that has started.
        shape = (len(app.routes), len(app.user_middleware), len(app.exception_handlers)) if isinstance(app, Starlette) else ()
        known = self._served.get(id(app))
        if known is not None and known.shape == shape:
            self._served.move_to_end(id(app))
            return known.server
        if known is not None:
            self._stop(id(app))
        while len(self._served) >= MOST_SERVERS:
            self._stop(next(iter(self._served)))
        stack = ExitStack()
        options = {"pool": 4, "endpoint_threads": 4, "drain_s": 5.0, "on_error": "stop", "way": self._way}
        server = stack.enter_context(running(app if isinstance(app, Starlette) else _without_lifespan(app), **options))
        self._served[id(app)] = _Served(app, shape, server, stack)
        return server

    def stop_all(self) -> None:
        """Drains all of them."""
        while self._served:
            self._stop(next(iter(self._served)))

    def _stop(self, key: int) -> None:
        # What the app's second lifespan, the server's, raises at its end is not the matter of the test that comes next.
        with contextlib.suppress(Exception):
            self._served.pop(key).stack.close()


def _without_lifespan(app: Any) -> Any:
    # Those of the suites are made to be called once, and the test client does not ask them for a lifespan either.
    async def app_alone(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await app(scope, receive, send)

    return app_alone


class Referee:
    """Stands in for the test client's own way to an app."""

    def __init__(self, way: str) -> None:
        self.servers = Servers(way)
        self.counts: Counter[str] = Counter()
        self._open_sockets = 0
        self._raised = _Raised()
        self._in_process: Callable[..., Any] = testclient._TestClientTransport.handle_request

    def install(self) -> None:
        """Puts the server in the app's place."""
        referee = self

        def handle_request(self: Any, request: Any) -> Any:
            return referee._handle(self, request)

        testclient._TestClientTransport.handle_request = handle_request  # type: ignore[method-assign]
        logging.getLogger("server").addHandler(self._raised)

    def remove(self) -> None:
        """Stops every server."""
        self.servers.stop_all()
        testclient._TestClientTransport.handle_request = self._in_process  # type: ignore[method-assign]

    def _handle(self, transport: Any, request: Any) -> Any:
        if isinstance(transport.app, testclient._WrapASGI2) or transport.root_path:
            self.counts["requests in process"] += 1
            return self._in_process(transport, request)
        server = self.servers.of(transport.app)
        self._raised.errors.clear()
        if request.url.scheme in ("ws", "wss"):
            self.counts["web sockets over the wire"] += 1
            raise testclient._Upgrade(_WireSession(server, request, self))
        self.counts["requests over the wire"] += 1
        status, headers, body = _send(server.port, request)
        self.verdict(server, raises=transport.raise_server_exceptions)
        assert status is not None, "the answer did not come, and the app has raised nothing"
        # As a stream, because httpx gives a length to what has a content.
        return testclient.httpx.Response(status, headers=headers, stream=testclient.httpx.ByteStream(body), request=request)

    def opened(self, more: int) -> None:
        """So many more web sockets are open."""
        self._open_sockets += more

    def verdict(self, server: Running, *, raises: bool = True) -> None:
        """Waits until everything is over, tasks and all, and raises what was raised there, as the client of the suite does."""
        end = time.monotonic() + TIME_OUT_S
        while not self._open_sockets and not server.is_quiet and time.monotonic() < end:
            time.sleep(0.001)
        if raises and self._raised.errors:
            raise self._raised.errors[0]


def _send(port: int, request: Any) -> tuple[int | None, list[tuple[str, str]], bytes]:
    """Status, headers and body; of an answer that broke off, as much as there was of it."""
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
        if request.url.scheme == "https":
            # As behind a proxy that ends TLS.
            connection.putheader("x-forwarded-proto", "https")
        if body and not any(name.lower() == b"content-length" for name, _ in headers):
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body or None)
        try:
            response = connection.getresponse()
        except (http.client.BadStatusLine, ConnectionError):
            return None, [], b""
        try:
            answer = response.read()
        except http.client.IncompleteRead as error:
            answer = error.partial
        return response.status, [pair for pair in response.getheaders() if pair[0].lower() not in HOP], answer
    finally:
        connection.close()


class _WireSession(testclient.WebSocketTestSession):
    """A web socket of the test client's, to a server. What the app raised is raised at its end."""

    def __init__(self, server: Running, request: Any, referee: Referee) -> None:
        self._server = server
        self._request = request
        self._referee = referee
        self._connection: ClientConnection | None = None
        self.accepted_subprotocol = None
        self.extra_headers = None

    def __enter__(self) -> Any:
        url, own = (
            self._request.url,
            ("host", "upgrade", "connection", "sec-websocket-key", "sec-websocket-version", "user-agent"),
        )
        wanted = self._request.headers.get("sec-websocket-protocol")
        try:
            self._connection = connect(
                f"ws://{url.netloc.decode('ascii')}{url.raw_path.decode('ascii')}",
                sock=socket.create_connection(("127.0.0.1", self._server.port)),
                additional_headers=[
                    (name, value)
                    for name, value in self._request.headers.multi_items()
                    if name.lower() not in (*own, "sec-websocket-protocol")
                ],
                subprotocols=[part.strip() for part in wanted.split(",")] if wanted else None,
                user_agent_header=self._request.headers.get("user-agent"),
                compression=None,
                ping_interval=None,
                open_timeout=TIME_OUT_S,
                max_size=None,
            )
        except InvalidStatus as refused:
            self._referee.verdict(self._server)
            answer = refused.response
            if answer.status_code == 403 and not answer.body:
                # With which code the app has closed it nobody can see over the wire.
                raise WebSocketDisconnect from None
            headers = [(name, value) for name, value in answer.headers.raw_items() if name.lower() not in HOP]
            raise testclient.WebSocketDenialResponse(answer.status_code, headers=headers, content=bytes(answer.body)) from None
        self._referee.opened(1)
        self.accepted_subprotocol = self._connection.subprotocol
        told = self._connection.response
        assert told is not None
        framed = ("upgrade", "connection", "sec-websocket-accept", "sec-websocket-protocol", "date")
        self.extra_headers = [
            (name.lower().encode(), value.encode()) for name, value in told.headers.raw_items() if name.lower() not in framed
        ]
        return self

    def __exit__(self, *raised: object) -> None:
        assert self._connection is not None
        self._connection.close()
        self._referee.opened(-1)
        self._referee.verdict(self._server)

    def send(self, message: Any) -> None:
        assert self._connection is not None
        if message["type"] == "websocket.disconnect":
            self._connection.close(message["code"], message["reason"] or "")
            return
        self._connection.send(message["text"] if message.get("text") is not None else message["bytes"])

    def receive(self) -> Any:
        assert self._connection is not None
        try:
            data = self._connection.recv(timeout=TIME_OUT_S)
        except ConnectionClosed as closed:
            close = closed.rcvd
            if close is None or close.code == 1011:
                self._referee.verdict(self._server)
            code, reason = (close.code, close.reason) if close is not None else (1006, "")
            return {"type": "websocket.close", "code": 1000 if code == 1005 else code, "reason": reason}
        return {"type": "websocket.send", "text" if isinstance(data, str) else "bytes": data}


_REFEREE = pytest.StashKey[Referee]()
_OUTCOMES = pytest.StashKey[dict[str, tuple[str, str]]]()
_RANK = {"passed": 0, "skipped": 0, "failed": 1}


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--referee auto`: over the wire, as the server likes; `general`: all by the general way; none: as ever."""
    parser.addoption("--referee", choices=["none", "auto", "general"], default="none")
    parser.addoption("--referee-report", type=Path)


def pytest_configure(config: pytest.Config) -> None:
    """Puts the server in the app's place, if asked for."""
    config.stash[_OUTCOMES] = {}
    if (way := config.getoption("--referee")) != "none":
        config.stash[_REFEREE] = Referee(way)
        config.stash[_REFEREE].install()
    config.pluginmanager.register(_Reporter(config.stash[_OUTCOMES]))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stops every server and writes how each test ended."""
    if (referee := config.stash.get(_REFEREE, None)) is not None:
        referee.remove()
    if (path := config.getoption("--referee-report")) is not None:
        counts = {} if referee is None else dict(referee.counts)
        path.write_text(json.dumps({"outcomes": config.stash[_OUTCOMES], "counts": counts}), encoding="utf-8")


class _Reporter:
    """How each test ended, with the last line of what went wrong."""

    def __init__(self, outcomes: dict[str, tuple[str, str]]) -> None:
        self._outcomes = outcomes

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        before = self._outcomes.get(report.nodeid, ("passed", ""))
        if _RANK[report.outcome] >= _RANK[before[0]]:
            crash = getattr(report.longrepr, "reprcrash", None)
            message = str(getattr(crash, "message", "")).partition("\n")[0]
            self._outcomes[report.nodeid] = report.outcome, message

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._outcomes[report.nodeid] = "failed", "could not be collected"
