"""For all tests: programs of the environment in which they run are found by their names, activated or not."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))


@pytest.fixture(scope="session", autouse=True)
def recorded_calibration(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test waits for the load generator to be calibrated, and none depends on what it can do on the machine that tests."""
    from harness import calibration

    if calibration.VARIABLE in os.environ:
        return
    os.environ[calibration.VARIABLE] = str(tmp_path_factory.mktemp("calibration") / "calibration.json")
    for processes in range(1, 5):
        calibration.keep(
            calibration.Calibration(
                processes=processes,
                answered_per_s=100_000.0 * processes,
                cpu_share=1.0,
                lag_p50_ms=0.1,
                lag_p99_ms=0.5,
                at_unix_s=int(time.time()),
                took_s=3.0,
                cores=64,
            )
        )
