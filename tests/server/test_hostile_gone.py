"""Clients that go in every phase of a request, politely, by halves or with a reset: no task row is lost, nothing is left."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from harness.rows import Gauge

from .conftest import Serve
from .helpers import AppServer, read_answer, until
from .hostile_app import APP, Unharmed, get, post, read_all, reset, statuses

CLIENT_GONE = 1
HANDSHAKE = get(
    b"/ws",
    b"upgrade: websocket",
    b"connection: upgrade",
    b"sec-websocket-version: 13",
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
)
JSON = b'{"name":"a"}'
MULTIPART = b'--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n'
ANSWERED = ("with the request", "in the answer", "in the second answer", "in the handshake", "in a web socket", "in a frame")
PHASES = {
    "before a byte": b"",
    "in the head": b"POST /items HTTP/1.1\r\nhost",
    "before the body": post(b"/items", b"", b"content-length: 12"),
    "before the body (general)": post(b"/general/x", b"", b"content-length: 12"),
    "in the body": post(b"/items", JSON[:5], b"content-type: application/json", b"content-length: 12"),
    "in the body (general)": post(b"/echo", JSON[:5], b"content-length: 12"),
    "in an upload": post(b"/file", MULTIPART, b"content-type: multipart/form-data; boundary=b", b"content-length: 5000"),
    "in a chunk": post(b"/items", b"fff\r\nabc", b"transfer-encoding: chunked"),
    "in a chunk (general)": post(b"/general/x", b"fff\r\nabc", b"transfer-encoding: chunked"),
    "with the request": post(b"/items", JSON),
    "with the request (general)": post(b"/general/x", b""),
    "in the endpoint": post(b"/slow", b""),
    "in the answer": get(b"/large"),
    "in the answer (general)": get(b"/stream"),
    "in the answer (whole app)": get(b"/flow/x"),
    "in the second answer": get(b"/") + get(b"/large") + get(b"/stream"),
    "in the handshake": HANDSHAKE,
    "in a web socket": HANDSHAKE + b"\x81\x83\0\0\0\0abc" * 50,
    "in a frame": HANDSHAKE + b"\x81\xfe\xff\xff\0\0\0\0abc",
}


@pytest.fixture(scope="module")
def server(shared: Serve) -> Iterator[AppServer]:
    """One for all; that its clients leave it unharmed is checked after each test, too."""
    server = shared(APP)
    yield server
    server.unharmed.check()


@pytest.fixture(scope="module")
def unharmed(server: AppServer) -> Unharmed:
    """What it was like before."""
    server.unharmed = Unharmed(server)
    return server.unharmed


@pytest.mark.parametrize("phase", PHASES)
def test_a_client_that_goes_leaves_nothing_behind(server: AppServer, unharmed: Unharmed, phase: str):
    """Closed or reset, at once or a moment later, before or after it has read something."""
    for number in range(24):
        client = server.connect()
        client.sendall(PHASES[phase])
        if number % 3 == 1:
            time.sleep(0.003)
        elif number % 3 == 2 and phase.startswith(ANSWERED):
            client.recv(100)
        if number % 2:
            reset(client)
        else:
            client.close()
    unharmed.check()


def test_clients_that_go_at_random_moments_lose_no_task(server: AppServer, unharmed: Unharmed):
    """Three hundred of them in a storm, the moments drawn from a fixed seed."""
    draw = random.Random(7)
    requests = list(PHASES.values())
    for _ in range(300):
        client = server.connect()
        request = draw.choice(requests)
        client.sendall(request[: draw.choice([len(request), len(request), draw.randint(0, len(request))])])
        time.sleep(draw.choice([0, 0, 0.001, 0.01]))
        if draw.random() < 0.5:
            reset(client)
        else:
            client.close()
    unharmed.check()


@pytest.mark.parametrize("target", [b"/stream", b"/flow/x"])
def test_a_stream_whose_client_goes_when_it_begins_is_given_up(server: AppServer, unharmed: Unharmed, target: bytes):
    """Also between the moment the app begins its answer and the moment the I/O thread hears of it, which takes many to hit."""
    for number in range(500):
        client = server.connect()
        client.sendall(get(target))
        time.sleep(number % 10 * 0.0002)
        reset(client)
    unharmed.check()


@pytest.mark.parametrize("target", [b"/slow", b"/general/x", b"/items"])
def test_a_client_that_closes_its_side_has_gone(server: AppServer, unharmed: Unharmed, target: bytes):
    """As in uvicorn: whether it would still read cannot be known. The connection ends, and what was asked for is done."""
    for _ in range(10):
        with server.connect() as client:
            client.sendall(post(target, JSON))
            client.shutdown(1)
            assert statuses(read_all(client)) in ([], [200])
    unharmed.check()


def test_a_client_that_goes_while_its_endpoint_runs_has_its_tasks_done(server: AppServer, unharmed: Unharmed):
    """Their rows say that it had gone."""
    with server.connect() as client:
        client.sendall(post(b"/slow?s=0.3", b"", b"x-op-id: 5a", b"content-length: 0"))
        until(lambda: server.gauge(Gauge.REQUESTS_IN_FLIGHT) == 1, "the request is under way")
        reset(client)
    until(lambda: server.gauge(Gauge.REQUESTS_IN_FLIGHT) == 0, "it is noticed")
    until(lambda: len([task for task in server.tasks() if task.op == 0x5A and task.ended]) == 3, "its tasks have ended")
    assert all(task.flags == CLIENT_GONE and task.started for task in server.tasks() if task.op == 0x5A)
    unharmed.check()


@pytest.mark.parametrize("first", [b"/large", b"/stream"])
def test_a_request_behind_a_long_answer_waits_for_its_turn(server: AppServer, unharmed: Unharmed, first: bytes):
    """Sent while the first answer is on its way, answered behind its last byte."""
    with server.connect() as client:
        client.sendall(get(first))
        head = client.recv(4096)
        assert statuses(head) == [200]
        client.sendall(get(b"/p/second", b"connection: close"))
        received = head + read_all(client)
    assert statuses(received) == [200, 200]
    assert received.endswith(b'"second"')
    assert len(received) > 19_600_000
    unharmed.check()


def test_clients_that_ask_much_and_read_nothing_take_no_memory(server: AppServer, unharmed: Unharmed):
    """A thousand requests for 20 MB each on one connection: one answer at a time is made."""
    with server.connect(receive_buffer=4096) as client:
        before = len(server.tasks())
        client.sendall(get(b"/stream") * 1_000)
        client.settimeout(0.5)
        assert client.recv(100)
        # Its first answer cannot leave, so the second has not been asked for.
        assert len(server.tasks()) <= before + 3
        reset(client)
    unharmed.check()


def test_a_connection_is_good_for_many_requests(server: AppServer, unharmed: Unharmed):
    """Of every kind, one after another."""
    with server.connect() as client:
        for _ in range(50):
            for request in (post(b"/items", JSON), post(b"/general/x", b""), post(b"/echo", b"abc"), get(b"/nothing")):
                client.sendall(request)
                assert read_answer(client).status in (200, 404)
    unharmed.check()
