"""What the load generator can do on this machine: measured once against a server that does nothing, kept, and held against plans.

The record is in the user's cache directory (or in the file that AFTERLOAD_CALIBRATION names), with a fingerprint of the machine:
on another processor, or with another Python or Locust, it does not count.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import platformdirs

from harness.engines import MODULE
from harness.environment import describe_environment
from harness.errors import RunError
from harness.host import Host
from harness.load import null
from harness.processes import Child, Janitor
from harness.rows import Gauge, LivePage, RequestError, Rows, read_rows
from harness.statistics import quantiles_ms
from harness.talk import Talk

__all__ = ["Calibration", "CalibrationBusy", "calibrate", "keep", "measuring", "recorded", "usable_cores"]

VARIABLE: Final = "AFTERLOAD_CALIBRATION"

CALM_PER_S: Final = 200
"""Of each process: a rate at which lag is that of the machine, and not that of too much work."""
CALM_S: Final = 0.6
STAGES: Final = "{calm} for 600ms, {low}..{middle} for 400ms, {middle}..{high} for 1200ms"
RISING_PER_S: Final = (1_000, 4_000, 24_000)
WINDOW_NS: Final = 250_000_000
"""In a shorter one the answers that come in a heap after a pause would pass for a rate."""
IN_FLIGHT: Final = 100
HALF_A_CORE: Final = 0.5
"""A generator at its ceiling fills a core. With less than this it was something else that held it up."""

_READY_S: Final = 30.0
_LEAD_NS: Final = 100_000_000
_RUN_TAG: Final = 1
_SAMPLE_S: Final = 0.02
_REQUEST: Final = {
    "name": "POST /",
    "method": "POST",
    "path": "/",
    "headers": {"content-type": "application/json"},
    "body": '{"email": "user-{op}@example.org", "name": "Somebody"}',
}


class CalibrationBusy(RunError):
    """Somebody measures on this machine: a calibration now would spoil both."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What `processes` load processes can do together here."""

    processes: int
    answered_per_s: float  # in the best quarter of a second, all processes together
    cpu_share: float  # of a core, of each process in that time
    lag_p50_ms: float  # at a calm rate: nothing that is measured here can be finer than this
    lag_p99_ms: float
    at_unix_s: int  # when it was measured
    took_s: float
    cores: float  # that this machine, or the quota of its control group, lets them use

    @property
    def ceiling_per_s(self) -> float:
        """What all of them together can send.

        Where there is a core for each, that is what they send in a second of processor time: it came out within 5 % again and
        again while somebody else used half of the machine, where what they had sent in a second of the clock differed by a third.
        """
        return self.answered_per_s / self.cpu_share if self._has_cores else self.answered_per_s

    @property
    def is_disturbed(self) -> bool:
        """True if the processes got so little of the machine that the ceiling is rather a guess."""
        return self._has_cores and self.cpu_share < HALF_A_CORE

    @property
    def _has_cores(self) -> bool:
        return self.processes < self.cores and self.cpu_share > 0


def recorded(processes: int) -> Calibration | None:
    """The calibration of this machine for that many processes, if there is one."""
    with contextlib.suppress(KeyError, TypeError):
        return Calibration(**_records()[str(processes)])
    return None


def keep(calibration: Calibration) -> None:
    """Keeps it for later runs. Raises OSError if the place can't be written."""
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    records = {**_records(), str(calibration.processes): asdict(calibration)}
    text = json.dumps({"machine": fingerprint(), "calibrations": records}, indent=1) + "\n"
    # Whole or not at all, whoever reads it meanwhile.
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=".calibration-", delete=False) as file:
        file.write(text)
    Path(file.name).replace(path)


def calibrate(processes: int, tick: Callable[[], None] = lambda: None) -> Calibration:
    """Runs `processes` load processes against a null server, at rising rates, for some three seconds. `tick` is called meanwhile.

    Raises CalibrationBusy while another run or calibration is going on here, and RunError if a process failed.
    """
    with _alone(), tempfile.TemporaryDirectory(prefix="afterload-calibration-") as folder:
        return _Bench(Path(folder), processes, tick).measure()


@contextlib.contextmanager
def measuring(say: Callable[[str], None], patience_s: float = 20.0) -> Iterator[None]:
    """While a run measures: nobody calibrates. Waits for the end of a calibration that is going on."""
    with _lock() as lock:
        if lock is not None and not _try(lock, fcntl.LOCK_SH):
            say("waiting for a calibration on this machine to end")
            end = time.monotonic() + patience_s
            while not _try(lock, fcntl.LOCK_SH) and time.monotonic() < end:
                time.sleep(0.1)
        yield


def usable_cores() -> float:
    """How many there are for us: a container may have half a core of sixty-four."""
    cores, quota = len(os.sched_getaffinity(0)), Host().cpu_quota
    return cores if quota is None else min(cores, quota)


@lru_cache(maxsize=1)
def fingerprint() -> str:
    """Of what a generator's speed depends on: processor, cores, kernel, Python, and the libraries that send."""
    about = describe_environment()
    versions = [f"{name} {metadata.version(name)}" for name in ("afterload", "locust", "gevent", "geventhttpclient")]
    parts = [about["cpu"], about["cpus"], about["cpu_quota"], platform.release(), about["python"], *versions]
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]


class _Bench:
    """One calibration."""

    def __init__(self, folder: Path, processes: int, tick: Callable[[], None]) -> None:
        self._folder, self._processes, self._tick = folder, processes, tick
        self._cpu: list[tuple[int, int]] = []  # (when, processor time of all load processes), ns
        self._pages: list[LivePage] = []

    def measure(self) -> Calibration:
        began_s = time.monotonic()
        run_id = f"calibration-{os.getpid()}-{time.monotonic_ns()}"
        with Janitor(run_id), contextlib.ExitStack() as children:
            server = self._start("null", [sys.executable, "-I", "-S", str(Path(null.__file__))], run_id, children)
            loads = [
                self._start(f"load-{process}", [sys.executable, *MODULE, "harness.load"], run_id, children)
                for process in range(self._processes)
            ]
            port = server.hear(_READY_S, "before it was ready")["port"]
            for process, load in enumerate(loads):
                load.say(self._job(process, port))
            for load in loads:
                load.hear(_READY_S, "before it was ready")
            self._pages = [LivePage(self._rows(process)) for process in range(self._processes)]
            start_ns = time.monotonic_ns() + _LEAD_NS
            for load in loads:
                load.say({"t0_ns": start_ns})
            for load in loads:
                load.hear(_READY_S, "while it was calibrated")
            for page in self._pages:
                page.close()
            rows = np.concatenate([np.asarray(read_rows(self._rows(process)).rows) for process in range(self._processes)])
        return self._judge(rows, start_ns, time.monotonic() - began_s)

    def _start(self, name: str, command: Sequence[str], run_id: str, children: contextlib.ExitStack) -> Talk:
        child = Child(name, command, self._folder / f"{name}.log", run_id=run_id, piped=True)
        children.callback(child.stop, 3.0)
        return Talk(child, self._sample)

    def _rows(self, process: int) -> Path:
        return self._folder / f"requests-{process}.rows"

    def _job(self, process: int, port: int) -> dict[str, Any]:
        low, middle, high = (rate * self._processes for rate in RISING_PER_S)
        return {
            "process": process,
            "processes": self._processes,
            "host": "127.0.0.1",
            "port": port,
            "stages": STAGES.format(calm=CALM_PER_S * self._processes, low=low, middle=middle, high=high),
            "arrivals": "constant",
            "duration_s": 2.2,
            "seed": 1,
            "run_tag": _RUN_TAG,
            "rows": str(self._rows(process)),
            "request_timeout_s": 5.0,
            "max_in_flight": IN_FLIGHT,
            "templates": [_REQUEST],
        }

    def _sample(self) -> None:
        self._tick()
        if self._pages and (not self._cpu or time.monotonic_ns() - self._cpu[-1][0] > _SAMPLE_S * 1e9):
            self._cpu.append((time.monotonic_ns(), sum(page.gauge(Gauge.CPU) for page in self._pages)))

    def _judge(self, rows: Rows, start_ns: int, took_s: float) -> Calibration:
        sent = rows[rows["sent_ns"] != 0]
        calm = sent[sent["due_ns"] < start_ns + int(CALM_S * 1e9)]
        done = np.sort(sent["done_ns"][(sent["done_ns"] != 0) & (sent["error"] == RequestError.NONE)].astype(np.int64))
        if not len(done) or not len(calm):
            raise RunError("the calibration of the load generator got no answer from its own server")
        # Of the windows that begin with an answer, the one that holds most of them.
        inside = np.searchsorted(done, done + WINDOW_NS) - np.arange(len(done))
        best = int(np.argmax(inside))
        lag_p50_ms, lag_p99_ms = quantiles_ms((calm["sent_ns"] - calm["due_ns"]).astype(np.int64), (0.5, 0.99))
        return Calibration(
            processes=self._processes,
            answered_per_s=round(float(inside[best]) / (WINDOW_NS / 1e9), 1),
            cpu_share=round(min(1.0, self._share(int(done[best]))), 3),
            lag_p50_ms=round(lag_p50_ms, 3),
            lag_p99_ms=round(lag_p99_ms, 3),
            at_unix_s=int(time.time()),
            took_s=round(took_s, 2),
            cores=usable_cores(),
        )

    def _share(self, from_ns: int) -> float:
        """Of a core, what each process used in the window that begins there."""
        if len(self._cpu) < 2:
            return 0.0
        at, used = np.array(self._cpu, dtype=np.float64).T
        first, last = np.interp([from_ns, from_ns + WINDOW_NS], at, used)
        return float(last - first) / WINDOW_NS / self._processes


def _records() -> dict[str, Any]:
    """What is kept of this machine."""
    try:
        kept = json.loads(_path().read_text(encoding="utf-8"))
        calibrations = kept["calibrations"] if kept["machine"] == fingerprint() else {}
    except (OSError, ValueError, KeyError, TypeError):
        # None, or damaged: it can be measured again.
        return {}
    return calibrations if isinstance(calibrations, dict) else {}


def _path() -> Path:
    named = os.environ.get(VARIABLE)
    return Path(named) if named else platformdirs.user_cache_path("afterload") / "calibration.json"


@contextlib.contextmanager
def _lock() -> Iterator[IO[bytes] | None]:
    path = _path().with_suffix(".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError:
        # Without a place to write there is no lock, and no calibration is kept either.
        yield None
        return
    with file:
        yield file


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    with _lock() as lock:
        if lock is not None and not _try(lock, fcntl.LOCK_EX):
            raise CalibrationBusy("another run measures on this machine, so the load generator is not calibrated now")
        yield


def _try(lock: IO[bytes], how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
