"""One real run that was followed while it went on, shared by all tests about it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.control import SetPool, send
from harness.live import history as of_history
from harness.live.folding import Folding
from harness.live.follower import Follower
from harness.live.frame import Frame, Look, Phase, TaskStatus

LOOK = Look(0.0, 30.0, 0.5, tasks=TaskStatus.QUEUED, n_tasks=20)


@dataclass(frozen=True)
class FollowedRun:
    """Its directory, and the frames that were told while it went on."""

    path: Path
    frames: list[Frame]


@pytest.fixture(scope="session")
def followed(tmp_path_factory: pytest.TempPathFactory) -> FollowedRun:
    """More than the pool can do, a kill in the middle, a change by hand; with what can be let go let go at once."""
    with pytest.MonkeyPatch.context() as patch:
        # Where other tests keep the processors busy, a row is now and then written later than a tenth of a second after its
        # instant, and is not in the frame that was told. What is told then is looked at in test_growing_run.py, by no clock.
        patch.setattr(of_history, "BEHIND_NS", 400_000_000)
        return _followed(tmp_path_factory.mktemp("followed"))


def _followed(folder: Path) -> FollowedRun:
    path = folder / "run"
    path.mkdir()
    frames: list[Frame] = []
    follower = Follower(path, tell=frames.append, every_s=0.1, folding=Folding(300_000_000, rows=0))
    follower.look(LOOK)
    follower.start()
    command = [sys.executable, "-m", "harness", "run", "email", "--out", str(path), "--for", "4s", "--rate", "90", "--pool", "3"]
    command += ["--warm-up", "500ms", "--fault", "kill@2.6s", "--seed", "7"]
    run = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    try:
        steer_once(path, frames)
        run.wait(90)
        end = time.monotonic() + 20
        while time.monotonic() < end and not (frames and frames[-1].phase is Phase.ENDED):
            time.sleep(0.05)
    finally:
        if run.poll() is None:
            run.terminate()
            run.wait(30)
        follower.close()
    return FollowedRun(path, frames)


def steer_once(path: Path, frames: list[Frame]) -> None:
    """Asks for another pool, once the load goes on."""
    end = time.monotonic() + 60
    while time.monotonic() < end and not (frames and frames[-1].at_s > 0.4):
        time.sleep(0.02)
    send(path, SetPool(4))
