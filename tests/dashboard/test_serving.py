"""The screen in a browser: a real server, and what speaks to it instead of one."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from .terminal import environment


async def hear(socket: ClientConnection, word: str) -> None:
    """Reads until it has come."""
    text = ""
    async with asyncio.timeout(60):
        while word not in text:
            said = await socket.recv()
            text += said if isinstance(said, str) else said.decode("utf-8", "replace")


def lookers_on(server: subprocess.Popen[str]) -> list[psutil.Process]:
    found = []
    for each in psutil.Process(server.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it is just ending
            if "attach" in each.cmdline():
                found.append(each)
    return found


def test_a_browser_sees_the_run_and_can_do_nothing_to_it(runs: dict[str, Path], here: Path) -> None:
    """One process a connection, which ends with it; pages from elsewhere, and one looker-on too many, are refused."""
    before = {path.name: path.stat().st_mtime_ns for path in runs["killed"].iterdir()}
    command = [sys.executable, "-P", "-m", "dashboard", "serve-ui", "--port", "0", "--most", "1", "runs/killed"]
    server = subprocess.Popen(command, cwd=here, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=environment())
    try:
        assert server.stderr is not None
        told = server.stderr.readline()
        found = re.search(r"http://(127\.0\.0\.1:\d+)", told)
        assert found, told
        address = found[1]
        assert httpx.get(f"http://{address}/").status_code == 200
        assert httpx.get(f"http://{address}/", headers={"Host": "evil.example"}).status_code == 403

        async def look_on() -> None:
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"ws://{address}/ws", origin="http://evil.example")  # type: ignore[arg-type]
            assert refused.value.response.status_code == 403
            async with connect(f"ws://{address}/ws?width=100&height=30", max_size=None) as socket:
                await hear(socket, "CLIENT")
                with pytest.raises(InvalidStatus) as refused:
                    await connect(f"ws://{address}/ws")
                assert refused.value.response.status_code == 503
                assert len(lookers_on(server)) == 1
                for key in "Kems":
                    await socket.send(f'["stdin", "{key}"]')
                await hear(socket, "read-only")

        asyncio.run(look_on())
        end = time.monotonic() + 30
        while lookers_on(server):
            assert time.monotonic() < end, "the process of a closed connection goes on"
            time.sleep(0.05)
    finally:
        server.terminate()
        server.communicate(timeout=30)
    assert {path.name: path.stat().st_mtime_ns for path in runs["killed"].iterdir()} == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_serves_can_end_it_while_others_look_on(runs: dict[str, Path], here: Path, number: signal.Signals) -> None:
    """Within moments, without a word, and nothing is left: a browser that is open would never hang up first."""
    command = [sys.executable, "-P", "-m", "dashboard", "serve-ui", "--port", "0", "runs/killed"]
    server = subprocess.Popen(command, cwd=here, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=environment())
    try:
        assert server.stderr is not None
        found = re.search(r"http://(127\.0\.0\.1:\d+)", server.stderr.readline())
        assert found

        async def look_on() -> list[psutil.Process]:
            async with connect(f"ws://{found[1]}/ws?width=100&height=30", max_size=None) as socket:
                await hear(socket, "CLIENT")
                screens = lookers_on(server)
                server.send_signal(number)
                with contextlib.suppress(ConnectionClosed):
                    async with asyncio.timeout(8):  # a handshake that nobody answers takes ten
                        while True:
                            await socket.recv()
            return screens

        screens = asyncio.run(look_on())
        assert server.wait(8) == 0
        assert server.stderr.read() == ""
        assert len(screens) == 1
        assert not any(each.is_running() for each in screens)
    finally:
        server.kill()
        server.communicate(timeout=30)
