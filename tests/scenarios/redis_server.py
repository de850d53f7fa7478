"""A real Redis that a test starts itself: on a free port, with its files in a temporary folder, and a password."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

PASSWORD = "not a secret"
_START_S = 15.0


@dataclass
class RedisServer:
    url: str
    process: subprocess.Popen[bytes]

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, password=PASSWORD, protocol=2)


@contextlib.contextmanager
def running_redis(folder: Path, *more: str) -> Iterator[RedisServer]:
    """Skips the test, with the reason, where there is no Redis."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"--port": str(port), "--bind": "127.0.0.1", "--dir": str(folder), "--save": "", "--appendonly": "no"}
    command = [binary, *(part for option in options.items() for part in option), "--requirepass", PASSWORD, *more]
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    server = RedisServer(f"redis://127.0.0.1:{port}/0", process)
    try:
        end = time.monotonic() + _START_S
        with contextlib.closing(server.client()) as client:
            while True:
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    assert process.poll() is None, (folder / "redis.log").read_text()
                    assert time.monotonic() < end, "Redis did not answer in time"
                    time.sleep(0.02)
        yield server
    finally:
        process.kill()
        process.wait()
