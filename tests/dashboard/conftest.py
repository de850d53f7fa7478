"""What all tests of screens share: two simulated runs."""

from __future__ import annotations

import pytest

from tests.dashboard.frames import HEALTHY, SCISSORS, Simulation, simulate


@pytest.fixture(scope="session")
def scissors() -> Simulation:
    """More comes than is done; a kill at 74 s; twice the load from 100 s on."""
    return simulate(SCISSORS)


@pytest.fixture(scope="session")
def healthy() -> Simulation:
    """All is well for 60 s."""
    return simulate(HEALTHY)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Textual runs on asyncio."""
    return "asyncio"
