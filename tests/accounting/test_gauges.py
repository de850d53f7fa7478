"""Samples of real processes: what a server's processes have used is counted from their start, and stays when they have ended."""

from __future__ import annotations

import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from harness.gauges import GaugeSampler
from harness.rows import read_rows

PARENT = """
import subprocess, sys, time
burn = "import time\\nwhile time.process_time() < 0.6: pass\\nprint('burnt', flush=True); input()"
time.sleep(0.3)
child = subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print("burnt", flush=True)
input()
child.communicate("")
print("ended", flush=True)
input()
"""


@pytest.fixture
def server() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_a_worker_is_seen_from_its_first_moment_and_what_it_used_outlives_it(
    tmp_path: Path, server: subprocess.Popen[str]
) -> None:
    """It burns 0.6 s within less than the second after which processes are looked for anew."""
    assert server.stdin is not None
    assert server.stdout is not None
    sampler = GaugeSampler(tmp_path / "gauges.rows")
    process = psutil.Process(server.pid)

    def sample_until(said: str) -> None:
        while not select.select([server.stdout], [], [], 0)[0]:
            sampler.sample(1, None, process, 0)
            time.sleep(0.005)
        assert server.stdout.readline().strip() == said
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            sampler.sample(1, None, process, 0)
            time.sleep(0.005)

    sample_until("burnt")
    server.stdin.write("\n")
    server.stdin.flush()
    sample_until("ended")
    sampler.close()

    rows = np.asarray(read_rows(tmp_path / "gauges.rows").rows)
    used_s, t_s = rows["server_cpu_ns"].astype(np.int64) / 1e9, rows["t_ns"].astype(np.int64) / 1e9
    steps_s, passed_s = np.diff(used_s), np.diff(t_s)
    # The clock of processor time ticks every 10 ms; two processes can use two cores.
    assert (steps_s >= 0).all()
    assert (steps_s <= 2 * passed_s + 0.03).all(), steps_s.max()
    assert used_s[-1] >= 0.6
    assert rows["server_rss_bytes"][-1] < rows["server_rss_bytes"].max()


def test_a_server_that_starts_programs_all_the_time_is_not_looked_through_at_each_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking through all processes costs what it measures: a few times a second are enough, however many are new."""
    looks = []
    children = psutil.Process.children
    monkeypatch.setattr(psutil.Process, "children", lambda self, **given: looks.append(1) or children(self, **given))
    sampler = GaugeSampler(tmp_path / "gauges.rows")
    code = "import subprocess\nwhile True: subprocess.run(['true'], check=True)"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        server = psutil.Process(process.pid)
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            sampler.sample(1, None, server, 0)
            time.sleep(0.005)
        process.kill()
    sampler.close()

    # Of fifty samples, on a machine that has the time to take them.
    assert 1 <= len(looks) <= 3 * 9
