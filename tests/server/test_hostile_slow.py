"""Clients that take their time, and too many of them: each limit is kept, and what was accepted for them is done."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.rows import Gauge
from server import ServerConfig

from .conftest import Serve
from .helpers import PATIENCE_S, AppServer, read_answer, until
from .hostile_app import APP, Unharmed, descriptors, get, post, read_all, reset, statuses

CLIENT_GONE = 1
LIMIT_S = 0.5
WRITE_LIMIT_S = 1.0


@pytest.fixture(scope="module")
def server(shared: Serve) -> Iterator[AppServer]:
    """One with short limits for all; that its clients leave it unharmed is checked at the end."""
    limits = [f"--{name}-timeout={LIMIT_S}" for name in ("head", "body")]
    server = shared(APP, *limits, f"--write-timeout={WRITE_LIMIT_S}", f"--keep-alive={LIMIT_S}")
    unharmed = Unharmed(server)
    yield server
    unharmed.check()


def ended(server: AppServer, count: int) -> None:
    """Waits until `count` tasks have ended."""
    until(lambda: server.gauge(Gauge.FINISHED) + server.gauge(Gauge.FAILED) >= count, f"{count} tasks have ended")


def test_a_connection_on_which_nothing_comes_is_closed(server: AppServer):
    """A new one, after the time for a head; one that was used, after the time for idleness."""
    with server.connect() as client:
        begun = time.monotonic()
        assert read_all(client) == b""
        assert time.monotonic() - begun > LIMIT_S * 0.9
        client.close()
    with server.connect() as client:
        client.sendall(get(b"/"))
        assert read_answer(client).status == 200
        begun = time.monotonic()
        assert read_all(client) == b""
        assert time.monotonic() - begun > LIMIT_S * 0.9


@pytest.mark.parametrize("is_first", [True, False])
def test_a_head_that_comes_byte_by_byte_is_not_waited_for(server: AppServer, is_first: bool):
    """Its time counts from its first byte: sending a little now and then does not help."""
    with server.connect() as client:
        if not is_first:
            client.sendall(get(b"/"))
            assert read_answer(client).status == 200
        begun = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < begun + PATIENCE_S:
                client.sendall(b"x")
                time.sleep(0.03)
        assert time.monotonic() < begun + PATIENCE_S
        assert read_all(client) == b""


@pytest.mark.parametrize("target", [b"/items", b"/general/x", b"/echo", b"/file"])
def test_a_body_that_stops_coming_is_answered_408(server: AppServer, target: bytes):
    """On both ways, whether its length was said or not, and the connection ends."""
    for lines in ([b"content-length: 100"], [b"transfer-encoding: chunked"]):
        with server.connect() as client:
            head = [b"content-type: multipart/form-data; boundary=b"] if target == b"/file" else []
            begun = b"7\r\n--b\r\n" if target == b"/file" else b"5\r\n{"
            if lines == [b"content-length: 100"]:
                begun = begun.partition(b"\r\n")[2]
            client.sendall(post(target, begun, *head, *lines))
            assert statuses(read_all(client)) == [408]


def test_many_bodies_that_stop_coming_at_once_are_all_answered_408(server: AppServer):
    """Also where the app, to which its client has gone, gives up before its refusal has been sent."""
    with contextlib.ExitStack() as clients:
        waiting = [clients.enter_context(server.connect()) for _ in range(150)]
        for client in waiting:
            client.sendall(post(b"/echo", b"{", b"content-length: 100"))
        assert {status for client in waiting for status in statuses(read_all(client))} == {408}


@pytest.mark.parametrize("target", [b"/items", b"/general/x"])
def test_a_body_that_comes_slowly_but_steadily_is_waited_for(server: AppServer, target: bytes):
    """The limit is for pauses, not for the whole."""
    body = b'{"name":"a"' + b" " * 40 + b"}"
    with server.connect() as client:
        client.sendall(post(target, b"", b"content-type: application/json", b"content-length: %d" % len(body)))
        longest_s = 0.0
        for at in range(len(body)):
            before = time.monotonic()
            with contextlib.suppress(ConnectionError):
                client.sendall(body[at : at + 1])
            time.sleep(1.5 * LIMIT_S / len(body))
            longest_s = max(longest_s, time.monotonic() - before)
        answer = read_answer(client)
    # Where this side was held up for longer than allowed, the server may be right to give up.
    assert answer.status == 200 or (longest_s > LIMIT_S / 2 and answer.status == 408)


def test_an_endpoint_may_take_longer_than_its_client_may(server: AppServer):
    """No limit for clients counts while the app works; the idle time begins with the answer."""
    with server.connect() as client:
        client.sendall(post(b"/slow?s=%.1f" % (2.5 * LIMIT_S), b""))
        assert read_answer(client).status == 200
        client.sendall(get(b"/"))
        assert read_answer(client).status == 200


@pytest.mark.parametrize("target", ["/large", "/stream"])
def test_an_answer_that_nobody_takes_is_given_up_and_its_tasks_run(server: AppServer, target: str):
    """Their rows say that the client had gone."""
    before = len(server.tasks())
    with server.connect(receive_buffer=4096) as client:
        client.sendall(get(target.encode(), b"x-op-id: 77"))
        ended(server, before + 3)
        tasks = server.tasks()[before:]
        assert len(tasks) == 3
        assert all(task.flags & CLIENT_GONE for task in tasks)
        assert min(task.flushed - task.accepted for task in tasks) > 0.9e9 * WRITE_LIMIT_S
        received = read_all(client)
    assert len(received) < 15_000_000


@pytest.mark.parametrize("target", ["/large", "/stream"])
def test_an_answer_that_is_taken_slowly_but_steadily_is_sent_whole(server: AppServer, target: str):
    """Some of it within the limit is enough."""
    before = len(server.tasks())
    longest_s = 0.0
    with server.connect(receive_buffer=64 * 1024) as client:
        client.sendall(get(target.encode(), b"connection: close"))
        begun = time.monotonic()
        received = 0
        while time.monotonic() < begun + 1.5 * WRITE_LIMIT_S:
            last = time.monotonic()
            received += len(client.recv(128 * 1024))
            time.sleep(0.05)
            longest_s = max(longest_s, time.monotonic() - last)
        received += len(read_all(client))
    assert received > 19_600_000 or longest_s > WRITE_LIMIT_S / 2
    ended(server, before + 3)


def test_a_web_socket_that_nobody_reads_is_closed(server: AppServer):
    """The app is told, and the connection given back."""
    before = descriptors(server)
    head = [b"upgrade: websocket", b"connection: upgrade", b"sec-websocket-version: 13"]
    with server.connect(receive_buffer=4096) as client:
        client.sendall(get(b"/ws", *head, b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="))
        assert client.recv(12) == b"HTTP/1.1 101"
        # Unmasked, or rather masked with zeros: a text of 60,000 bytes that comes back.
        message = b"\x81\xfe" + (60_000).to_bytes(2, "big") + bytes(4) + b"a" * 60_000
        client.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            for _ in range(2_000):
                client.sendall(message)
        until(lambda: descriptors(server) <= before, "the server has let it go")


def test_more_connections_than_allowed_are_refused(serve: Serve):
    """Each with 503; one that ends makes room for another."""
    server = serve(APP, "--max-connections", "10")
    open_now = [server.connect() for _ in range(10)]
    for client in open_now:
        client.sendall(get(b"/"))
        assert read_answer(client).status == 200

    refused = server.ask("GET", "/")
    assert (refused.status, refused.header("retry-after"), refused.header("connection")) == (503, "1", "close")
    assert refused.json() == {"detail": "Too many connections are open"}

    open_now.pop().close()
    until(lambda: server.ask("GET", "/").status == 200, "there is room again")
    for client in open_now:
        client.sendall(get(b"/"))
        assert read_answer(client).status == 200
        client.close()


def test_requests_whose_clients_have_gone_count_as_connections(serve: Serve):
    """Clients that ask and go at once cannot have any number of requests under way."""
    server = serve(APP, "--max-connections", "5")
    for number in range(5):
        client = server.connect()
        client.sendall(post(b"/slow?s=2", b""))
        until(lambda number=number: server.gauge(Gauge.REQUESTS) > number, "the request has come")
        reset(client)
    until(lambda: server.gauge(Gauge.REQUESTS_IN_FLIGHT) == 0, "no client is left")
    assert server.ask("GET", "/").status == 503
    until(lambda: server.ask("GET", "/").status == 200, "they are through")
    server.wait_ended(15)


def test_thousands_of_idle_connections_cost_little(serve: Serve):
    """A few KiB each; others are served meanwhile, and all is given back."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    count = min(5_000, allowed // 2 - 100)
    server = serve(APP, "--keep-alive", "60")
    unharmed = Unharmed(server)
    before = rss_bytes(server)
    clients = [server.connect() for _ in range(count)]
    for client in clients:
        client.sendall(get(b"/"))
    for client in clients:
        assert read_answer(client).status == 200
    each = (rss_bytes(server) - before) / count
    print(f"{count} connections, {each / 1024:.1f} KiB each")
    assert each < 32 * 1024
    assert server.ask("GET", "/p/x").json() == "x"
    for client in clients:
        client.close()
    unharmed.check()


def test_a_server_without_descriptors_goes_on_when_it_has_some(serve: Serve):
    """It neither ends nor spins while it cannot accept."""
    server = serve(APP)
    unharmed = Unharmed(server)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (descriptors(server) + 5, 4096))
    clients = [server.connect() for _ in range(50)]
    cpu_before = cpu_s(server)
    time.sleep(1)
    assert cpu_s(server) - cpu_before < 0.5
    for client in clients:
        client.close()
    until(lambda: server.ask("GET", "/").status == 200, "it accepts again")
    unharmed.check()


@pytest.mark.parametrize("field", ["head_timeout_s", "body_timeout_s", "write_timeout_s", "keep_alive_s", "max_connections"])
def test_limits_that_cannot_be_are_refused(field: str):
    """By name, with what is allowed."""
    with pytest.raises(ValueError, match=rf"{field} is 0; allowed is"):
        ServerConfig(**{field: 0})


def rss_bytes(server: AppServer) -> int:
    """Memory that the server has in use."""
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * resource.getpagesize()


def cpu_s(server: AppServer) -> float:
    """CPU time that the server has used."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_while_one_client_is_stuck_others_are_answered(server: AppServer):
    """All of them share an I/O thread."""
    with server.connect(receive_buffer=4096) as stuck, socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as other:
        stuck.sendall(get(b"/large"))
        for _ in range(20):
            other.sendall(get(b"/p/x"))
            assert read_answer(other).body == b'"x"'
