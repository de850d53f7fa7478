"""The instrument: fresh servers, wrk against them in interleaved slices, correctness before speed, and what disturbed it all.

A *duel* is two contenders over several rounds. Each round starts both servers afresh (each in a session of its own), checks that
they work correctly, warms them up, and then measures slices in the order A B B A (B A A B in every second round), while
the other server idles. The ratio of a round is between neighbours in time; the machine's noise is in its spread over rounds.

A rate here counts *finished work*: requests divided by wrk's duration plus the time the server then took to finish its tasks.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import psutil

from harness.errors import RunError, UsageError
from harness.processes import Child
from harness.servers import HOST, free_port

__all__ = ["CONNECTIONS", "Contender", "Duel", "Server", "Settings", "Slice", "Spread", "Workshop", "require_wrk", "run_duel"]

ROOT = Path(__file__).resolve().parent.parent
CONNECTIONS = 32
POOL = 40
VALID = {"email": "ada@example.com", "name": "Ada Lovelace"}
WRONG_TYPE = {"email": "ada@example.com", "name": None}
WRONG_EMAIL = {"email": "not an address", "name": "Ada Lovelace"}

_READY_S = 20.0
_WRK_STOP_S = 10.0
_DRAIN_S = 20.0
_POLL_S = 0.005

Engine = Literal["bundled", "fastapi"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is measured."""

    rounds: int
    slice_s: float  # one slice of wrk; each contender gets two per round
    n_burst: int  # tasks per burst of the executor comparison
    log: Callable[[str], None]  # progress

    @property
    def warm_up_s(self) -> float:
        return min(0.3, self.slice_s)


@dataclass(frozen=True, slots=True)
class Contender:
    """One side of a duel."""

    label: str
    engine: Engine
    path: str
    has_task: bool = True  # a POST of a valid body that adds one task; otherwise a GET without one
    email: bool = True  # its body is validated as having an address; otherwise as having two strings
    rows: bool = False


@dataclass(frozen=True, slots=True)
class Slice:
    """One run of wrk, with what the server did about it."""

    requests: int
    wrk_s: float
    drain_s: float  # from wrk's end until every acknowledged request's task had finished; 0: they had already
    p50_ms: float
    p99_ms: float
    server_cpu_s: float
    wrk_cpu_s: float
    others_share: float  # of all cores, taken by processes that are neither the server nor wrk
    problem: str | None  # why it does not count

    @property
    def rate(self) -> float:
        return self.requests / (self.wrk_s + self.drain_s)


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and most of some rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        return cls(statistics.median(values), min(values), max(values))


@dataclass(slots=True)
class Duel:
    """All slices: `rounds[number][side]`."""

    a: Contender
    b: Contender
    rounds: list[tuple[list[Slice], list[Slice]]] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        return [
            f"round {number}, {contender.label}: {found.problem}"
            for number, sides in enumerate(self.rounds, 1)
            for contender, slices in zip((self.a, self.b), sides, strict=True)
            for found in slices
            if found.problem
        ]

    @property
    def valid(self) -> list[tuple[list[Slice], list[Slice]]]:
        """Rounds in which nothing went wrong."""
        return [sides for sides in self.rounds if not any(found.problem for slices in sides for found in slices)]

    def rates(self, side: int) -> Spread:
        return Spread.of([_rate(sides[side]) for sides in self.valid])

    def ratio(self) -> Spread:
        """Rate of A per rate of B, round by round."""
        return Spread.of([_rate(sides[0]) / _rate(sides[1]) for sides in self.valid])

    def cpu_ratio(self) -> Spread:
        """CPU time per request of A per that of B, round by round: what a busy machine disturbs least."""
        return Spread.of([_cpu_us(sides[0]) / _cpu_us(sides[1]) for sides in self.valid])

    def cpu_us(self, side: int) -> Spread:
        """CPU time of the server per request, tasks included."""
        return Spread.of([_cpu_us(sides[side]) for sides in self.valid])

    def over_slices(self, side: int, value: Callable[[Slice], float]) -> Spread:
        return Spread.of([value(found) for sides in self.valid for found in sides[side]])

    def as_json(self) -> dict[str, Any]:
        rounds = [{"a": [asdict(found) for found in a], "b": [asdict(found) for found in b]} for a, b in self.rounds]
        found: dict[str, Any] = {"a": asdict(self.a), "b": asdict(self.b), "problems": self.problems, "rounds": rounds}
        if self.valid:
            found |= {
                "ratio": asdict(self.ratio()),
                "cpu_ratio": asdict(self.cpu_ratio()),
                "rates_per_s": [asdict(self.rates(side)) for side in (0, 1)],
            }
        return found


class Workshop:
    """A temporary folder and every child of the bench. Leaving it kills and reaps them all."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="afterload-bench-"))
        self.run_id = f"bench-{uuid.uuid4().hex[:12]}"
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for child in self._children:
            if child.exit is None:
                child.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, name: str, command: Sequence[str], env: dict[str, str] | None = None) -> Child:
        """Starts a child in a session of its own; the kernel kills it if the bench dies."""
        name = f"{name}-{len(self._children)}"
        child = Child(name, command, self.folder / f"{name}.log", run_id=self.run_id, env=env, cwd=ROOT)
        self._children.append(child)
        return child

    @contextlib.contextmanager
    def server(self, contender: Contender, *options: str) -> Iterator[Server]:
        """A fresh server of the contender, ready; killed at the end."""
        server = self.begin(contender, *options)
        try:
            server.wait_ready()
            yield server
        finally:
            server.child.kill()

    def begin(self, contender: Contender, *options: str) -> Server:
        """A server that starts."""
        port = free_port()
        if contender.engine == "bundled":
            command = [sys.executable, "-m", "server", "bench.app:app", "--port", str(port), "--pool", str(POOL)]
            if contender.rows:
                command += ["--rows", str(self.folder / f"tasks-{port}.rows")]
        else:
            command = [sys.executable, "-m", "uvicorn", "bench.app:app", "--port", str(port), "--workers", "1"]
            command += ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
        env = {"BENCH_SERVER": contender.engine, "PYTHONHASHSEED": "0"}
        return Server(self.start(f"server-{contender.engine}", [*command, "--host", HOST, *options], env), port)


class Server:
    """A running server under test, seen from outside."""

    def __init__(self, child: Child, port: int) -> None:
        self.child = child
        self.port = port

    def wait_ready(self) -> None:
        """Raises ChildDied or ChildNotReady."""
        end = time.monotonic() + _READY_S
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                self.finished()
                return
            if self.child.poll() is not None:
                raise self.child.died("before it was ready")
            if time.monotonic() > end:
                raise self.child.not_ready(_READY_S)
            time.sleep(_POLL_S)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Status and body of one request on a connection of its own."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10.0)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask_json(self, method: str, path: str) -> Any:
        """The JSON of a 200; anything else raises OSError."""
        status, body = self.ask(method, path)
        if status != 200:
            msg = f"{method} {path} was answered {status}: {body[:200]!r}"
            raise OSError(msg)
        return json.loads(body)

    def finished(self) -> int:
        """Tasks finished since its start."""
        found: int = self.ask_json("GET", "/finished")["finished"]
        return found

    def settle(self) -> int:
        """Waits until no task finishes any more; the number finished."""
        end = time.monotonic() + _DRAIN_S
        seen = self.finished()
        while time.monotonic() < end:
            time.sleep(0.02)
            if (now := self.finished()) == seen:
                break
            seen = now
        return seen

    def check(self, contender: Contender) -> None:
        """Correct before fast. Raises RunError saying what is wrong."""
        if not contender.has_task:
            status, _ = self.ask("GET", contender.path)
            self._expect(contender, "GET", status == 200, f"was answered {status}, not 200")
            return
        before = self.finished()
        status, body = self.ask("POST", contender.path, VALID)
        self._expect(contender, "a valid POST", 200 <= status < 300, f"was answered {status}, not 2xx")
        expected = {"message": "queued", "name": VALID["name"]}
        self._expect(contender, "a valid POST", json.loads(body) == expected, f"was answered {body!r}")
        for invalid in (WRONG_TYPE, WRONG_EMAIL) if contender.email else (WRONG_TYPE,):
            status, _ = self.ask("POST", contender.path, invalid)
            self._expect(contender, f"POST of {invalid}", status == 422, f"was answered {status}, not 422")
        end = time.monotonic() + 2.0
        while (done := self.finished() - before) < 1 and time.monotonic() < end:
            time.sleep(_POLL_S)
        self._expect(contender, "one valid POST beside invalid ones", done == 1, f"ran {done} tasks, not 1")

    def cpu_s(self) -> float:
        times = psutil.Process(self.child.pid).cpu_times()
        return float(times.user + times.system)

    def _expect(self, contender: Contender, what: str, holds: bool, otherwise: str) -> None:
        if not holds:
            msg = f"{contender.label}: {what} to {contender.path} {otherwise}{self.child.last_lines()}"
            raise RunError(msg)


def require_wrk() -> str:
    """wrk's version. Raises UsageError if there is none."""
    if shutil.which("wrk") is None:
        raise UsageError("the bench needs wrk, which was not found on PATH", "install it with `apt-get install wrk`")
    # It prints its version and usage, and exits with 1.
    words = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False, timeout=10).stdout.split()
    return words[1] if len(words) > 1 else "of unknown version"


def run_duel(workshop: Workshop, settings: Settings, a: Contender, b: Contender) -> Duel:
    """Measures two contenders. Raises RunError if one of them does not work at all."""
    duel = Duel(a, b)
    for number in range(settings.rounds):
        settings.log(f"{a.label} : {b.label}, round {number + 1} of {settings.rounds}")
        with contextlib.ExitStack() as stack:
            # Both start at the same time, on a core each: nothing is measured yet.
            servers = []
            for contender in (a, b):
                server = workshop.begin(contender)
                stack.callback(server.child.kill)
                servers.append(server)
            for contender, server in zip((a, b), servers, strict=True):
                server.wait_ready()
                server.check(contender)
            for contender, server in zip((a, b), servers, strict=True):
                measure(workshop, server, contender, settings.warm_up_s)
            sides: tuple[list[Slice], list[Slice]] = ([], [])
            for side in (0, 1, 1, 0) if number % 2 == 0 else (1, 0, 0, 1):
                sides[side].append(measure(workshop, servers[side], (a, b)[side], settings.slice_s))
            duel.rounds.append(sides)
    return duel


def measure(workshop: Workshop, server: Server, contender: Contender, slice_s: float) -> Slice:
    """One slice."""
    before = server.settle()
    server_cpu, wrk_cpu, machine_cpu, begun = server.cpu_s(), _children_cpu_s(), _machine_cpu_s(), time.monotonic()
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", "-d60s", "--timeout", "10s", "-s", str(ROOT / "bench" / "load.lua")]
    env = {"BENCH_METHOD": "POST" if contender.has_task else "GET", "BENCH_BODY": json.dumps(VALID)}
    wrk = workshop.start("wrk", [*command, f"http://{HOST}:{server.port}{contender.path}"], env)
    # wrk takes whole seconds only; at SIGINT it stops within 0.1 s and reports over the time that it really ran.
    if wrk.wait(slice_s) is None:
        wrk.signal(signal.SIGINT)
        wrk.wait(_WRK_STOP_S)
    if wrk.exit is None:
        wrk.kill()
    figures = _figures(wrk)
    if figures is None:
        raise RunError(f"wrk gave no figures{wrk.last_lines()}")
    requests, wrk_us, status, connect, read, write, timeout, p50_us, p99_us = figures
    if server.child.poll() is not None:
        raise server.child.died("under load")
    problem = None
    if failed := status + connect + read + write + timeout:
        problem = f"{status} answers were not 2xx, {failed - status} requests got none"
    elif not requests:
        problem = "not one request was answered"
    drain_s = 0.0
    if contender.has_task and problem is None:
        waiting = time.monotonic()
        while (done := server.finished() - before) < requests and time.monotonic() - waiting < _DRAIN_S:
            drain_s = time.monotonic() - waiting
            time.sleep(_POLL_S)
        after = server.settle() - before
        if done < requests:
            problem = f"{requests} requests were acknowledged, {done} tasks had finished {_DRAIN_S:g} s later"
        elif after > requests + CONNECTIONS:
            # wrk leaves up to one request per connection unanswered when it stops; more tasks than that were never asked for.
            problem = f"{requests} requests were acknowledged, {after} tasks ran"
    elapsed = time.monotonic() - begun
    server_s, wrk_s = server.cpu_s() - server_cpu, _children_cpu_s() - wrk_cpu
    others = max(0.0, _machine_cpu_s() - machine_cpu - server_s - wrk_s) / (elapsed * (psutil.cpu_count() or 1))
    return Slice(requests, wrk_us / 1e6, drain_s, p50_us / 1e3, p99_us / 1e3, server_s, wrk_s, others, problem)


def _figures(wrk: Child) -> list[int] | None:
    for line in wrk.log.read_text(errors="replace").splitlines():
        if line.startswith("figures "):
            return [int(word) for word in line.split()[1:]]
    return None


def _rate(slices: list[Slice]) -> float:
    return sum(found.requests for found in slices) / sum(found.wrk_s + found.drain_s for found in slices)


def _cpu_us(slices: list[Slice]) -> float:
    return 1e6 * sum(found.server_cpu_s for found in slices) / sum(found.requests for found in slices)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _machine_cpu_s() -> float:
    times = psutil.cpu_times()
    # Also what the hypervisor gave to somebody else (steal) was not ours.
    return float(sum(times) - times.idle - times.iowait - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0))
