"""Fixtures of the tests of the probe."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .probed import Probed, uvicorn

Start = Callable[..., Probed]

PYTHONS = [sys.executable, *filter(None, os.environ.get("AFTERLOAD_PROBE_PYTHONS", "").split(os.pathsep))]
"""Interpreters, each with a FastAPI and uvicorn of its own, on which to try the probe; CONTRIBUTING.md says how."""

_ops = itertools.count(0x1000_0000_0001)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts servers; they end with the test."""
    servers: list[Probed] = []

    def begin(command: list[str] | None = None, **how: object) -> Probed:
        folder = tmp_path / f"server-{len(servers)}"
        folder.mkdir()
        servers.append(Probed(folder, command or uvicorn(), **how))  # type: ignore[arg-type]
        return servers[-1]

    yield begin
    for server in servers:
        server.end()


WAYS = [(python, pure) for python in PYTHONS for pure in ("", "1")]
"""Each of them with the accelerator, and all in Python."""


def way_id(way: tuple[str, str]) -> str:
    return f"{Path(way[0]).parents[1].name}-{'pure' if way[1] else 'compiled'}"


@pytest.fixture(scope="session", params=WAYS, ids=way_id)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probed]:
    """One server that many tests ask, each with operations of its own."""
    python, pure = request.param
    server = Probed(tmp_path_factory.mktemp("served"), uvicorn(python=python), env={"AFTERLOAD_PROBE_PURE": pure})
    try:
        yield server.wait_ready()
    finally:
        server.end()


@pytest.fixture
def op() -> int:
    """An operation id that no other test uses."""
    return next(_ops)
