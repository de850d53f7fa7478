"""Behind a proxy that ends TLS: whose word about scheme and client counts."""

from __future__ import annotations

import httpx
import pytest
from websockets.sync.client import connect

import server

app = server.FastrAPI()
TOLD = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "1.2.3.4"}


@app.get("/client")
def client(request: server.Request) -> list[str]:
    assert request.client is not None
    return [request.url.scheme, request.client.host]


@app.post("/stream")
async def stream(request: server.Request) -> list[str]:
    return client(request)


@app.websocket("/socket")
async def socket(websocket: server.WebSocket) -> None:
    await websocket.accept()
    assert websocket.client is not None
    await websocket.send_text(f"{websocket.url.scheme} {websocket.client.host}")
    await websocket.close()


@pytest.mark.parametrize(
    ("trusted", "seen"),
    [
        ("127.0.0.1", ["https", "1.2.3.4"]),
        ("10.0.0.0/8, 127.0.0.0/8", ["https", "1.2.3.4"]),
        ("*", ["https", "1.2.3.4"]),
        ("", ["http", "127.0.0.1"]),
        ("10.0.0.0/8", ["http", "127.0.0.1"]),
    ],
)
def test_the_word_of_a_trusted_proxy_counts_and_of_nobody_else(trusted: str, seen: list[str]):
    """In the Request of either way, in web sockets, and in the redirects that the server makes itself."""
    with server.running(app, trusted_proxies=trusted) as running:
        assert httpx.get(f"{running.url}/client", headers=TOLD).json() == seen
        assert httpx.post(f"{running.url}/stream", headers=TOLD, content=b"x").json() == seen
        location = httpx.get(f"{running.url}/client/", headers=TOLD).headers["location"]
        with connect(f"ws://127.0.0.1:{running.port}/socket", additional_headers=TOLD) as connection:
            told = connection.recv()
    assert location == f"{seen[0]}://127.0.0.1:{running.port}/client"
    assert told == f"{'wss' if seen[0] == 'https' else 'ws'} {seen[1]}"


def test_what_is_no_address_is_refused_at_the_start():
    with pytest.raises(ValueError, match=r"which \"proxy.example\" is not"), server.running(app, trusted_proxies="proxy.example"):
        pass
