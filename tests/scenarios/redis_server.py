"""A real Redis that a test starts itself: on a free port, with its files in a temporary folder, and a password."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from harness.ports import free_port

PASSWORD = "not a secret"
_START_S = 15.0
_TRIES = 5


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
    # Somebody else may take the free port before Redis does.
    server = next(started for _ in range(_TRIES) if (started := _started(binary, folder, more)) is not None)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()


def _started(binary: str, folder: Path, more: tuple[str, ...]) -> RedisServer | None:
    """A Redis that answers; None if its port was taken."""
    port = free_port()
    options = {"--port": str(port), "--bind": "127.0.0.1", "--dir": str(folder), "--save": "", "--appendonly": "no"}
    command = [binary, *(part for option in options.items() for part in option), "--requirepass", PASSWORD, *more]
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    server = RedisServer(f"redis://127.0.0.1:{port}/0", process)
    end = time.monotonic() + _START_S
    with contextlib.closing(server.client()) as client:
        while time.monotonic() < end:
            try:
                client.ping()
            except redis.RedisError:
                if process.poll() is not None and "Address already in use" in (folder / "redis.log").read_text():
                    return None
                assert process.poll() is None, (folder / "redis.log").read_text()
                time.sleep(0.02)
            else:
                return server
    process.kill()
    process.wait()
    pytest.fail(f"Redis did not answer within {_START_S:g} s: {(folder / 'redis.log').read_text()}")
