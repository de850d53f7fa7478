"""Fixtures of the tests of the load process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from .helpers import ROOT, LoadProcess, RawServer, Reply


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[int], Reply]], RawServer]]:
    """Starts raw servers; they end with the test."""
    servers: list[RawServer] = []

    def start(answer: Callable[[int], Reply]) -> RawServer:
        servers.append(RawServer(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def job(tmp_path: Path) -> dict[str, Any]:
    """A job of ten requests in a tenth of a second; a test changes what it is about."""
    return {
        "process": 0,
        "processes": 1,
        "host": "127.0.0.1",
        "port": 1,
        "rate_per_s": 100.0,
        "duration_s": 0.1,
        "arrivals": "constant",
        "seed": 1,
        "run_tag": 12345,
        "rows": str(tmp_path / "requests-0.rows"),
        "request_timeout_s": 2.0,
        "max_in_flight": 50,
        "templates": [
            {
                "name": "POST /register",
                "method": "POST",
                "path": "/register",
                "headers": {"content-type": "application/json"},
                "body": '{"email": "u{op}@example.org"}',
                "weight": 1.0,
            }
        ],
    }


@pytest.fixture
def start_load() -> Iterator[Callable[..., LoadProcess]]:
    """Starts load processes; they end with the test."""
    processes: list[LoadProcess] = []

    def start(job: Mapping[str, Any], *, cwd: Path = ROOT, env: dict[str, str] | None = None) -> LoadProcess:
        processes.append(LoadProcess(job, cwd=cwd, env=env))
        return processes[-1]

    yield start
    for process in processes:
        process.end()
