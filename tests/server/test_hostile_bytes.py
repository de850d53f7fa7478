"""Bytes that nobody wrote by hand: hypothesis makes a fixed number of them, for connections, web sockets and the admin port."""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import Serve
from .helpers import PATIENCE_S, AppServer, until
from .hostile_app import APP, Unharmed, get, post, read_all

FIXED = settings(max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
SILENCE_S = 0.02
answered_500: Counter[bytes] = Counter()

VALID = [
    get(b"/"),
    get(b"/p/a%20b?x=1&y=%ff", b"accept: */*", b"cookie: a=b; c"),
    get(b"/stream?n=2"),
    post(b"/items", b'{"name":"a","price":2}'),
    post(b"/general/a/b", b"{}"),
    post(b"/echo", b"3\r\nabc\r\n0\r\n\r\n", b"transfer-encoding: chunked"),
    post(
        b"/file",
        b'--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\nabc\r\n--b--\r\n',
        b"content-type: multipart/form-data; boundary=b",
        b"content-length: 77",
    ),
    get(b"/ws", b"upgrade: websocket", b"connection: upgrade", b"sec-websocket-version: 13",
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="),
]  # fmt: skip
PIECES = [
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b":",
    b"%",
    b"\xff",
    b"0",
    b"-1",
    b"9" * 20,
    b"chunked",
    b"HTTP/1.1",
    b";",
    b"host: y\r\n",
]

mutations = st.tuples(st.integers(0, 10_000), st.sampled_from([0, 0, 1, 2, 20]), st.sampled_from(PIECES) | st.binary(max_size=3))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Requests in order, one behind another, with some bytes taken out and others put in."""
    data = bytearray(b"".join(draw(st.lists(st.sampled_from(VALID), min_size=1, max_size=4))))
    for place, taken, put in draw(st.lists(mutations, min_size=1, max_size=2)):
        at = place % (len(data) + 1)
        data[at : at + taken] = put
    return bytes(data)


METHODS = [b"GET", b"GET", b"POST", b"POST", b"HEAD", b"OPTIONS", b"CONNECT", b"PUT", b"frob", b"!#$%&'*+.^_`|~-"]
TARGETS = [
    b"/",
    b"/items",
    b"/echo",
    b"/file",
    b"/ws",
    b"/stream?n=1",
    b"/general/%2e%2e/x",
    b"*",
    b"//",
    b"/?",
    b"http://x/",
    b"/items/",
]
VALUES = {
    b"content-length": [b"0", b"3", b"12", b"12", b"99999999999"],
    b"transfer-encoding": [b"chunked", b"chunked", b"gzip"],
    b"connection": [b"close", b"keep-alive", b"upgrade", b"upgrade"],
    b"upgrade": [b"websocket", b"websocket", b"h2c"],
    b"sec-websocket-key": [b"dGhlIHNhbXBsZSBub25jZQ==", b"x"],
    b"sec-websocket-version": [b"13", b"8"],
    b"sec-websocket-protocol": [b"a, b", b",", b"\xff"],
    b"expect": [b"100-continue", b"x"],
    b"content-type": [b"application/json", b"multipart/form-data; boundary=b", b"multipart/form-data", b"text/\xff", b""],
    b"cookie": [b"a=b; a", b";;=", b"\xff=\xfe"],
    b"x-op-id": [b"1f", b"ffffffffffffffff", b"x"],
    b"range": [b"bytes=0-", b"x"],
    b"trailer": [b"host"],
    b"accept-encoding": [b"gzip"],
}
BODIES = [
    b"",
    b"",
    b"abc",
    b'{"name":"a"}',
    b'{"name":"a"}',
    b"3\r\nabc\r\n0\r\n\r\n",
    b"fffffffff\r\n",
    b"--b\r\n\r\n",
    b"\xff" * 12,
]
targets = st.sampled_from(TARGETS) | st.from_regex(rb"/p/[!-~]{0,12}", fullmatch=True)
lines = st.sampled_from(sorted(VALUES)).flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(VALUES[name])))


@st.composite
def composed(draw: st.DrawFn) -> bytes:
    """Requests made of parts that mean something, in combinations that may not."""
    requests = []
    for _ in range(draw(st.integers(1, 3))):
        head = b"%s %s HTTP/1.%d\r\n" % (draw(st.sampled_from(METHODS)), draw(targets), draw(st.sampled_from([1, 1, 1, 0])))
        fields = [(b"host", b"x"), *draw(st.lists(lines, max_size=5))]
        requests.append(head + b"".join(b"%s: %s\r\n" % field for field in fields) + b"\r\n" + draw(st.sampled_from(BODIES)))
    return b"".join(requests)


@pytest.fixture(scope="module")
def server(shared: Serve) -> Iterator[AppServer]:
    """One for all; that they leave it unharmed is checked at the end."""
    server = shared(APP, "--admin-port", "0")
    unharmed = Unharmed(server)
    yield server
    unharmed.check()
    # What an endpoint raised is the last line of a traceback.
    raised = Counter(re.findall(r"^[\w.]+(?:Error|Exception|Disconnect|Exit)\b.*", server.stderr(), re.MULTILINE))
    known = (
        "ValueError: as told",
        "starlette.requests.ClientDisconnect",
        "fastapi.exceptions.RequestValid",
        "UnicodeDecodeError",
    )
    assert not [line for line in raised if not line.startswith(known)]
    # FastAPI cannot quote in its 422 what is neither UTF-8 nor declared as JSON: its own 500, on uvicorn too.
    unquotable = sum(n for line, n in raised.items() if line.startswith("UnicodeDecodeError"))
    assert unquotable == answered_500.total()


def send(port: int, data: bytes) -> bytes:
    """What the server says to these bytes, until it closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
        client.sendall(data)
        return read_all(client, silence_s=SILENCE_S)


def assert_http(received: bytes) -> None:
    """Nothing, or responses."""
    assert not received or re.match(rb"HTTP/1\.[01] \d{3} ", received), received[:200]
    answered_500[b"HTTP/1.1 500 "] += received.count(b"HTTP/1.1 500 ")


@FIXED
@given(data=st.binary(max_size=300))
def test_bytes_by_chance_are_refused(server: AppServer, data: bytes):
    """They are no HTTP."""
    assert_http(send(server.port, data))


@FIXED
@given(data=mutated())
def test_requests_with_mistakes_are_answered_or_refused(server: AppServer, data: bytes):
    """Whatever the mistake does to the framing, the server gets to the end of the connection."""
    assert_http(send(server.port, data))


@FIXED
@given(data=composed())
def test_requests_of_strange_parts_are_answered_or_refused(server: AppServer, data: bytes):
    """On both ways, with bodies, upgrades and chunks that contradict each other."""
    assert_http(send(server.port, data))


@FIXED
@given(data=st.one_of(st.binary(max_size=200), mutated()))
def test_the_admin_port_stands_it_too(server: AppServer, data: bytes):
    """It is only on loopback, but whatever runs there may talk to it."""
    found = until(lambda: re.search(r"admin on http://127\.0\.0\.1:(\d+)", server.stderr()), "the admin port is named")
    assert_http(send(int(found[1]), data))


frames = st.one_of(
    st.binary(max_size=60),
    # A head of a frame with any flags and lengths, then something.
    st.builds(
        lambda first, second, rest: bytes([first, second]) + rest,
        st.integers(0, 255),
        st.sampled_from([0, 1, 0x80, 0x85, 0xFD, 0xFE, 0xFF, 0x7E, 0x7F]),
        st.binary(max_size=40) | st.just(b"\xff" * 8 + bytes(20)),
    ),
)


@settings(FIXED, max_examples=150)
@given(data=st.lists(frames, max_size=4))
def test_a_web_socket_stands_any_frames(server: AppServer, data: list[bytes]):
    """It answers, or says goodbye, and ends."""
    received = send(server.port, VALID[-1] + b"".join(data))
    assert received.startswith(b"HTTP/1.1 101 ")
