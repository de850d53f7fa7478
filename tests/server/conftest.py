"""Fixtures of the tests of the bundled server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .helpers import AppServer
from .plain import PlainServer

Serve = Callable[..., AppServer]
ServePlain = Callable[[str], PlainServer]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers of an app's source; they end with the test."""
    servers: list[AppServer] = []

    def start(source: str, *options: str, **how: object) -> AppServer:
        servers.append(AppServer(tmp_path / f"server-{len(servers)}", source, *options, **how))  # type: ignore[arg-type]
        return servers[-1]

    yield start
    for server in servers:
        server.end()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts servers that all tests of a module use; their tests tell their rows apart by operation."""
    servers: list[AppServer] = []

    def start(source: str, *options: str, **how: object) -> AppServer:
        servers.append(AppServer(tmp_path_factory.mktemp("shared"), source, *options, **how))  # type: ignore[arg-type]
        return servers[-1]

    yield start
    for server in servers:
        server.end()


@pytest.fixture(scope="module")
def plainly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServePlain]:
    """Starts plain FastAPI servers of the same sources, to be held against ours; they end with the module."""
    servers: list[PlainServer] = []

    def start(source: str) -> PlainServer:
        servers.append(PlainServer(tmp_path_factory.mktemp("plain"), source))
        return servers[-1]

    yield start
    for server in servers:
        server.end()
