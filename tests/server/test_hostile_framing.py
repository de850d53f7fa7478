"""Requests that are malformed, ambiguous or odd: each is answered or refused in one way, and read in only one way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from .conftest import Serve
from .helpers import AppServer, read_answer
from .hostile_app import APP, HOST, Unharmed, get, post, read_all, statuses

CHUNKED = b"transfer-encoding: chunked"
SMUGGLED = get(b"/hidden")

REFUSED: dict[str, tuple[int, bytes]] = {
    "two lengths": (400, post(b"/echo", b"abcd", b"content-length: 3", b"content-length: 4")),
    "a list of lengths": (400, post(b"/echo", b"abc", b"content-length: 3, 3")),
    "a length with a sign": (400, post(b"/echo", b"abc", b"content-length: +3")),
    "a negative length": (400, post(b"/echo", b"abc", b"content-length: -3")),
    "a hexadecimal length": (400, post(b"/echo", b"abc", b"content-length: 0x3")),
    "an empty length": (400, post(b"/echo", b"", b"content-length: ")),
    "a length beyond 64 bits": (400, post(b"/echo", b"abc", b"content-length: 18446744073709551619")),
    "the largest length": (431, post(b"/echo", b"abc", b"content-length: 18446744073709551615")),
    "a coding that is not known": (400, post(b"/echo", b"0\r\n\r\n", b"transfer-encoding: xchunked")),
    "chunked, but not last": (400, post(b"/echo", b"0\r\n\r\n", b"transfer-encoding: chunked, identity")),
    "chunked after identity": (501, post(b"/echo", b"0\r\n\r\n", b"transfer-encoding: identity, chunked")),
    "chunked after gzip": (501, post(b"/echo", b"0\r\n\r\n", b"transfer-encoding: gzip, chunked")),
    "chunked twice": (501, post(b"/echo", b"0\r\n\r\n", CHUNKED, CHUNKED)),
    "a tab before chunked": (400, post(b"/echo", b"0\r\n\r\n", b"transfer-encoding: \x0bchunked")),
    "a space before the colon": (400, post(b"/echo", b"0\r\n\r\n", b"transfer-encoding : chunked")),
    "chunked in HTTP/1.0": (400, b"POST /echo HTTP/1.0\r\n" + CHUNKED + b"\r\n\r\n0\r\n\r\n"),
    "a folded header": (400, get(b"/", b"a: b\r\n c")),
    "a folded first header": (400, b"GET / HTTP/1.1\r\n a: b\r\nhost: x\r\n\r\n"),
    "CR in a value": (400, get(b"/", b"a: b\rc: d")),
    "NUL in a value": (400, get(b"/", b"a: b\0c")),
    "NUL in a name": (400, get(b"/", b"a\0b: c")),
    "no colon": (400, get(b"/", b"abc")),
    "no name": (400, get(b"/", b": b")),
    "101 headers": (431, get(b"/", *(b"a%d: b" % n for n in range(101)))),
    "a header of 300 kB": (431, get(b"/", b"a: " + b"b" * 300_000)),
    "a target of 65.9 kB": (414, get(b"/" + b"a" * 65_900)),
    "a target of 300 kB": (431, get(b"/" + b"a" * 300_000)),
    "a target without a slash": (400, b"GET abc HTTP/1.1\r\nhost: x\r\n\r\n"),
    "a host as target": (400, b"GET x:80 HTTP/1.1\r\nhost: x\r\n\r\n"),
    "CONNECT": (400, b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n"),
    "a space in the target": (400, get(b"/p/a b")),
    "a tab in the target": (400, get(b"/p/a\tb")),
    "a control character in the target": (400, get(b"/p/a\x01b")),
    "what no URI holds in the target": (400, get(b"/p/a<b>^`")),
    "a byte that is no UTF-8 in the target": (400, get(b"/p/\xff")),
    "HTTP/0.9": (400, b"GET /\r\n\r\n"),
    "HTTP/1.2": (400, b"GET / HTTP/1.2\r\nhost: x\r\n\r\n"),
    "HTTP/2.0": (400, b"GET / HTTP/2.0\r\nhost: x\r\n\r\n"),
    "HTTP/1.10": (400, b"GET / HTTP/1.10\r\nhost: x\r\n\r\n"),
    "a version in lower case": (400, b"GET / http/1.1\r\nhost: x\r\n\r\n"),
    "no method": (400, b" / HTTP/1.1\r\nhost: x\r\n\r\n"),
    "a method that is no token": (400, b"G(T / HTTP/1.1\r\nhost: x\r\n\r\n"),
    "two spaces": (400, b"GET  / HTTP/1.1\r\nhost: x\r\n\r\n"),
    "no host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two hosts": (400, b"GET / HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n"),
    "the beginning of TLS": (400, bytes.fromhex("16030100a5010000a10303") + bytes(100)),
    "a chunk without a size": (400, post(b"/items", b"\r\nabc\r\n0\r\n\r\n", CHUNKED)),
    "a chunk with a negative size": (400, post(b"/items", b"-3\r\nabc\r\n0\r\n\r\n", CHUNKED)),
    "a chunk with a prefixed size": (400, post(b"/items", b"0x3\r\nabc\r\n0\r\n\r\n", CHUNKED)),
    "a chunk of a size beyond 64 bits": (400, post(b"/items", b"10000000000000003\r\nabc\r\n0\r\n\r\n", CHUNKED)),
    "a chunk that is longer than it says": (400, post(b"/items", b"2\r\nabc\r\n0\r\n\r\n", CHUNKED)),
    "chunks between bare line feeds": (400, post(b"/items", b"3\nabc\n0\n\n", CHUNKED)),
    "a line feed that ends a chunk extension": (400, post(b"/items", b"3;a\nabc\r\n0\r\n\r\n", CHUNKED)),
    "a chunk extension of 40 kB": (400, post(b"/items", b"3;" + b"a" * 40_000 + b"\r\nabc\r\n0\r\n\r\n", CHUNKED)),
    "5,000 trailers": (400, post(b"/items", b"3\r\nabc\r\n0\r\n" + b"x: y\r\n" * 5_000 + b"\r\n", CHUNKED)),
    "NUL in a trailer": (400, post(b"/items", b"3\r\nabc\r\n0\r\n\0\r\n\r\n", CHUNKED)),
    "a chunked body that is too large": (413, post(b"/items", b"f4240\r\n" + bytes(1_000_000), CHUNKED)),
    "a body that is too large": (413, post(b"/items", b"", b"content-length: 100001")),
}
"""After these the connection is closed: what follows on it cannot be told apart from what was refused."""

ANSWERED: dict[str, tuple[int, bytes, bytes]] = {
    "lengths that agree": (200, post(b"/echo", b"abc", b"content-length: 3", b"content-length: 3"), b"abc"),
    "bare line feeds": (200, b"GET / HTTP/1.1\nhost: x\n\n", b'"here"'),
    "empty lines before it": (200, b"\r\n\r\n" + get(b"/"), b'"here"'),
    "bytes of no encoding in a value": (200, get(b"/", b"a: \xff\xfe"), b'"here"'),
    "99 headers": (200, get(b"/", *(b"a%d: b" % n for n in range(99))), b'"here"'),
    "a target of 60 kB": (404, get(b"/" + b"a" * 60_000), b'{"detail":"Not Found"}'),
    "a whole URL as target": (200, b"GET http://other/ HTTP/1.1\r\nhost: x\r\n\r\n", b'"here"'),
    "OPTIONS *": (404, b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n", b'{"detail":"Not Found"}'),
    "an escape that is none": (200, get(b"/p/%zz"), b'"%zz"'),
    "half an escape": (200, get(b"/p/%"), b'"%"'),
    "an escaped NUL": (200, get(b"/p/%00"), b'"\\u0000"'),
    "escaped bytes that are no UTF-8": (200, get(b"/p/%ff"), '"\ufffd"'.encode()),
    "escaped dots": (404, get(b"/p/%2e%2e%2f%2e%2e%2fetc"), b'{"detail":"Not Found"}'),
    "a fragment": (200, get(b"/p/a#b"), b'"a"'),
    "a method in lower case": (405, b"get / HTTP/1.1\r\nhost: x\r\n\r\n", b'{"detail":"Method Not Allowed"}'),
    "a method that nobody knows": (405, b"FROB / HTTP/1.1\r\nhost: x\r\n\r\n", b'{"detail":"Method Not Allowed"}'),
    "TRACE": (405, b"TRACE / HTTP/1.1\r\nhost: x\r\n\r\n", b'{"detail":"Method Not Allowed"}'),
    "CONNECT with a path": (405, b"CONNECT / HTTP/1.1\r\nhost: x\r\n\r\n", b'{"detail":"Method Not Allowed"}'),
    "an upgrade to HTTP/2": (200, get(b"/", b"upgrade: h2c", b"connection: upgrade, http2-settings"), b'"here"'),
    "an upgrade to something": (200, get(b"/", b"upgrade: foo", b"connection: upgrade"), b'"here"'),
    "an empty host": (200, b"GET / HTTP/1.1\r\nhost:\r\n\r\n", b'"here"'),
    "a body with GET": (200, get(b"/", b"content-length: 3") + b"abc", b'"here"'),
    "HTTP/1.0 that asks for more": (200, b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", b'"here"'),
    "an expectation that nobody knows": (200, post(b"/echo", b"abc", b"expect: 200-maybe", b"content-length: 3"), b"abc"),
    "an operation id that is none": (200, get(b"/", b"x-op-id: +ffffffffffffffffffffff"), b'"here"'),
    "half a handshake": (200, get(b"/", b"upgrade: websocket", b"connection: upgrade"), b'"here"'),
    "a handshake with a bad key": (
        400,
        get(b"/ws", b"upgrade: websocket", b"connection: upgrade", b"sec-websocket-version: 13", b"sec-websocket-key: x"),
        b'{"detail":"The Sec-WebSocket-Key is no 16 bytes in base64"}',
    ),
}
"""After these the connection goes on."""

CHUNKS = {
    "a chunk extension": b'3;a=b;c="d"\r\nabc\r\n0\r\n\r\n',
    "trailers": b"3\r\nabc\r\n0\r\nhost: y\r\ncontent-length: 5\r\n\r\n",
    "leading zeros": b"00003\r\nabc\r\n0\r\n\r\n",
    "many chunks": b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n",
}


@pytest.fixture(scope="module")
def server(shared: Serve) -> Iterator[AppServer]:
    """One for all; that each of its tests leaves it unharmed is checked at the end."""
    server = shared(APP, "--max-body", "100000")
    unharmed = Unharmed(server)
    yield server
    unharmed.check()
    assert "hidden" not in server.ask("GET", "/entered").json(), "what follows a body of doubtful length is no request"


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_malformed_is_refused_and_the_connection_closed(server: AppServer, case: str):
    """One answer, then the end; what comes behind it is never taken for a request."""
    status, request = REFUSED[case]
    with server.connect() as client:
        client.sendall(request)
        with contextlib.suppress(ConnectionError):
            client.sendall(SMUGGLED)
        received = read_all(client, silence_s=0.5)
    assert statuses(received) == [status], received[:300]


@pytest.mark.parametrize("case", ANSWERED)
def test_what_is_only_odd_is_answered_and_the_connection_goes_on(server: AppServer, case: str):
    """The next request on it is answered as ever."""
    status, request, body = ANSWERED[case]
    with server.connect() as client:
        client.sendall(request + get(b"/p/next"))
        answer = read_answer(client)
        assert (answer.status, answer.body) == (status, body)
        assert read_answer(client).body == b'"next"'


@pytest.mark.parametrize("case", CHUNKS)
@pytest.mark.parametrize("lengths", [(), (b"content-length: 3",)], ids=["alone", "beside a length"])
def test_chunks_end_where_they_say_and_nothing_follows_them(server: AppServer, case: str, lengths: tuple[bytes, ...]):
    """The chunks count, whatever a length says. A server in between may have gone by the length, so the connection ends there."""
    for lines in {(CHUNKED, *lengths), (*lengths, CHUNKED)}:
        with server.connect() as client:
            client.sendall(post(b"/echo", CHUNKS[case], *lines) + SMUGGLED)
            received = read_all(client)
        assert statuses(received) == [200]
        assert b"connection: close\r\n" in received
        assert received.endswith(b"\r\n\r\nabc")


def test_http_2_is_not_spoken(server: AppServer):
    """Its preface looks like a request; the connection is closed."""
    with server.connect() as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert read_all(client) == b""


def test_http_1_0_is_answered_once(server: AppServer):
    """Without a host, and the connection ends."""
    with server.connect() as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n" + SMUGGLED)
        received = read_all(client)
    assert statuses(received.replace(b"HTTP/1.0 ", b"HTTP/1.1 ")) == [200]


def test_a_body_is_asked_for_where_it_is_held_back(server: AppServer):
    """`Expect: 100-continue` with a body in order; one that is too large is refused unseen."""
    with server.connect() as client:
        client.sendall(post(b"/echo", b"", b"expect: 100-continue", b"content-length: 3"))
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"abc")
        assert read_answer(client).body == b"abc"
    with server.connect() as client:
        client.sendall(post(b"/echo", b"", b"expect: 100-continue", b"content-length: 100001"))
        assert read_answer(client).status == 413


def test_a_thousand_requests_sent_at_once_are_answered_in_order(server: AppServer):
    """On one connection, of both ways, tasks among them."""
    kinds = [
        get(b"/p/1"),
        get(b"/nothing"),
        post(b"/items", b'{"name":"a"}'),
        post(b"/general/x", b""),
        post(b"/items", b"{"),
    ]
    expected = [200, 404, 200, 200, 422]
    with server.connect() as client:
        client.sendall(b"".join(kinds * 200) + b"GET / HTTP/1.1\r\nconnection: close\r\n" + HOST + b"\r\n")
        received = read_all(client)
    assert statuses(received) == [*expected * 200, 200]
