"""What the tests of the whole screen share: the scenarios as they are, recorded runs, and the app without a terminal."""

from __future__ import annotations

import asyncio
import shutil
import tarfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot

from dashboard.app import Dashboard
from dashboard.offers import Offer, offers_of
from dashboard.options import ScreenOptions
from harness.evidence import judge_run
from harness.rundir import RunDir
from harness.scenario import introduce_scenarios
from tests.dashboard.frames import HEALTHY, SCISSORS, Simulation, simulate

RECORDED = Path(__file__).resolve().parents[1] / "findings" / "runs"

Script = Callable[[Pilot[None]], Awaitable[None]]


class Known:
    """Offers that have been answered already."""

    def __init__(self, offers: list[Offer]) -> None:
        self._answer: Future[list[Offer]] = Future()
        self._answer.set_result(offers)
        self.known = offers

    def ask(self) -> None:
        """Nobody need be."""

    def wait(self) -> list[Offer]:
        return self._answer.result()


@pytest.fixture(scope="session")
def offers() -> list[Offer]:
    """What `python -m scenarios list` really says."""
    return offers_of(introduce_scenarios())


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Recorded runs, with their summaries."""
    base = tmp_path_factory.mktemp("recorded")
    found = {}
    for name in ("killed", "healthy"):
        path = found[name] = base / name
        with tarfile.open(RECORDED / f"{name}.tar.xz") as archive:
            archive.extractall(path, filter="data")
        (path / "summary.json").write_text(judge_run(RunDir(path)).model_dump_json())
    return found


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, in which nobody's own keys are found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


@pytest.fixture
def runs(here: Path, judged: dict[str, Path]) -> dict[str, Path]:
    """The recorded runs in runs/, `killed` the newer one."""
    found = {}
    for name in ("healthy", "killed"):
        found[name] = shutil.copytree(judged[name], here / "runs" / name)
    return found


@pytest.fixture
def app(here: Path, offers: list[Offer]) -> Callable[..., Dashboard]:
    """Makes the app as `afterload` does."""

    def make(**given: Any) -> Dashboard:
        options = ScreenOptions(**given.pop("options", {}))
        return Dashboard(options, offers=Known(offers), **given)

    return make


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


def play(app: Dashboard, script: Script, size: tuple[int, int] = (100, 30)) -> Dashboard:
    """Runs the app without a terminal, and in it the script."""

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await script(pilot)

    asyncio.run(run())
    return app


async def until(pilot: Pilot[None], condition: Callable[[], Any], what: str = "it", timeout_s: float = 30.0) -> Any:
    """Waits for a condition."""
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not happen within {timeout_s:g} s"
        await pilot.pause(0.02)
    return found


def shown(app: App[Any]) -> str:
    """The text on the screen, line by line."""
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())
