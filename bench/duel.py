"""Duels: two contenders in interleaved slices of load, and what disturbed them.

Each round starts both servers afresh (each in a session of its own), checks that they work correctly, warms them up, and then
measures slices in the order A B B A (B A A B in every second round), while the other server idles. The ratio of a round is
between neighbours in time; the machine's noise is in its spread over rounds.

A rate here counts *finished work*: requests divided by wrk's duration plus the time the server then took to finish its tasks.
"""

from __future__ import annotations

import contextlib
import json
import math
import resource
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import psutil

from bench.instrument import CONNECTIONS, VALID, Contender, Server, Workshop
from bench.peers import ROOT
from harness.errors import RunError
from harness.processes import Child
from harness.servers import HOST

__all__ = ["Duel", "Settings", "Slice", "Spread", "measure", "median_within", "run_duel"]

_WRK_STOP_S = 10.0
_DRAIN_S = 20.0
_POLL_S = 0.005
_SPIN_MARGIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is measured."""

    rounds: int
    slice_s: float  # one slice of wrk; each contender gets two per round
    n_burst: int  # tasks per burst of the executor comparison
    n_pending: int  # tasks that wait in the pending comparison
    log: Callable[[str], None]  # progress

    @property
    def warm_up_s(self) -> float:
        return min(0.3, self.slice_s)


@dataclass(frozen=True, slots=True)
class Slice:
    """One run of wrk, with what the server did about it."""

    requests: int
    wrk_s: float
    drain_s: float  # from wrk's end until every acknowledged request's task had finished; 0: they had already
    p50_ms: float
    p99_ms: float
    server_cpu_s: float
    switches: int  # of context, by all threads of the server
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


def median_within(values: Sequence[float]) -> tuple[float, float] | None:
    """Where the median of all such values is with 95 % confidence, whatever their distribution. None: there are too few.

    Between two of them in order, by the binomial distribution of how many are below it (Conover, Practical Nonparametric
    Statistics, section 3.2).
    """
    n = len(values)
    beyond, share = -1, 0.0
    while share + math.comb(n, beyond + 1) / 2**n <= 0.025:
        beyond += 1
        share += math.comb(n, beyond) / 2**n
    ordered = sorted(values)
    return None if beyond < 0 else (ordered[beyond], ordered[n - 1 - beyond])


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

    def ratios(self) -> list[float]:
        """Rate of A per rate of B, round by round."""
        return [_rate(sides[0]) / _rate(sides[1]) for sides in self.valid]

    def ratio(self) -> Spread:
        return Spread.of(self.ratios())

    def cpu_ratios(self) -> list[float]:
        """CPU time per request of A per that of B, round by round: what a busy machine disturbs least."""
        return [_cpu_us(sides[0]) / _cpu_us(sides[1]) for sides in self.valid]

    def cpu_ratio(self) -> Spread:
        return Spread.of(self.cpu_ratios())

    def cpu_us(self, side: int) -> Spread:
        """Microseconds of the server's CPU time per request, tasks included."""
        return Spread.of([_cpu_us(sides[side]) for sides in self.valid])

    def switches(self, side: int) -> Spread:
        """Context switches of the server per request, tasks included."""
        return Spread.of([_per_request(sides[side], lambda found: found.switches) for sides in self.valid])

    def p99_ratio(self) -> Spread:
        """p99 of A per that of B, round by round: medians of their slices."""
        return Spread.of([_p99(sides[0]) / _p99(sides[1]) for sides in self.valid])

    def over_slices(self, side: int, value: Callable[[Slice], float]) -> Spread:
        return Spread.of([value(found) for sides in self.valid for found in sides[side]])

    def as_json(self) -> dict[str, Any]:
        rounds = [{"a": [asdict(found) for found in a], "b": [asdict(found) for found in b]} for a, b in self.rounds]
        found: dict[str, Any] = {"a": asdict(self.a), "b": asdict(self.b), "problems": self.problems, "rounds": rounds}
        if self.valid:
            found |= {
                "ratio": asdict(self.ratio()),
                "cpu_ratio": asdict(self.cpu_ratio()),
                "p99_ratio": asdict(self.p99_ratio()),
                "rates_per_s": [asdict(self.rates(side)) for side in (0, 1)],
                "switches": [asdict(self.switches(side)) for side in (0, 1)],
            }
        return found


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
    if contender.beside_spinner:
        server.ask("POST", f"/spin?seconds={slice_s + _SPIN_MARGIN_S}")
        spun = time.monotonic() + slice_s + _SPIN_MARGIN_S
        before = server.finished()
    else:
        before = server.settle()
    usage, wrk_cpu, machine_cpu, begun = server.usage(), _children_cpu_s(), _machine_cpu_s(), time.monotonic()
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", "-d60s", "--timeout", "10s", "-s", str(ROOT / "bench" / "load.lua")]
    env = {"BENCH_METHOD": contender.method, "BENCH_BODY": json.dumps(VALID)}
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
    elapsed, after_usage = time.monotonic() - begun, server.usage()
    server_s, wrk_s = after_usage.cpu_s - usage.cpu_s, _children_cpu_s() - wrk_cpu
    others = max(0.0, _machine_cpu_s() - machine_cpu - server_s - wrk_s) / (elapsed * (psutil.cpu_count() or 1))
    if contender.beside_spinner:
        # The next slice must not begin beside two.
        time.sleep(max(0.0, spun - time.monotonic()))
    switches = after_usage.switches - usage.switches
    return Slice(requests, wrk_us / 1e6, drain_s, p50_us / 1e3, p99_us / 1e3, server_s, switches, wrk_s, others, problem)


def _figures(wrk: Child) -> list[int] | None:
    for line in wrk.log.read_text(errors="replace").splitlines():
        if line.startswith("figures "):
            return [int(word) for word in line.split()[1:]]
    return None


def _rate(slices: list[Slice]) -> float:
    return sum(found.requests for found in slices) / sum(found.wrk_s + found.drain_s for found in slices)


def _cpu_us(slices: list[Slice]) -> float:
    return 1e6 * _per_request(slices, lambda found: found.server_cpu_s)


def _per_request(slices: list[Slice], value: Callable[[Slice], float]) -> float:
    return sum(map(value, slices)) / sum(found.requests for found in slices)


def _p99(slices: list[Slice]) -> float:
    return statistics.median(found.p99_ms for found in slices)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _machine_cpu_s() -> float:
    times = psutil.cpu_times()
    # Also what the hypervisor gave to somebody else (steal) was not ours.
    return float(sum(times) - times.idle - times.iowait - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0))
