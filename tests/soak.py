"""Ten minutes of everything at once: `python -m tests.soak --minutes 10`. Nothing may be left then, and every account agree.

Requests of both ways, streams, uploads, web sockets, invalid requests, clients that go half-way, connections that come and go,
tasks that fail: about a tenth of what the server could take. Every request has a number, so that afterwards the rows of the
server can be compared with what each client saw. Memory, descriptors and threads are looked at meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.rows import Gauge
from tests.server.helpers import AppServer, until
from tests.soak_clients import APP, Account, Clients, Outcome

ACTORS = 32
ENDPOINT_THREADS = 10
ANYIO_THREADS = 40
WARM_UP = 0.2
"""The part of the time in which memory and threads may still grow."""
MEMORY_GROWTH = 0.05
"""The part by which memory may be larger in the last fifth than just after the warm-up, beside `MEMORY_NOISE_BYTES`."""
MEMORY_NOISE_BYTES = 4 << 20


@dataclass(frozen=True)
class Sample:
    """What the server held at one moment."""

    at_s: float
    memory_bytes: int  # its own: the mapped row file grows with every task and belongs to the kernel
    descriptors: int
    threads: int
    requests: int


@dataclass(frozen=True)
class Verdict:
    """What a soak has shown."""

    samples: tuple[Sample, ...]
    n_requests: int
    n_tasks: int
    seen: Counter[str]
    wrong: tuple[str, ...]

    @property
    def memory_slope_bytes(self) -> float:
        """Bytes a minute after the warm-up."""
        after = self.samples[int(len(self.samples) * WARM_UP) :]
        line = statistics.linear_regression([sample.at_s / 60 for sample in after], [sample.memory_bytes for sample in after])
        return line.slope

    def __str__(self) -> str:
        """A few lines."""
        start, first, last = self.samples[0], self.samples[int(len(self.samples) * WARM_UP)], self.samples[-1]
        most_descriptors = max(sample.descriptors for sample in self.samples)
        most_threads = max(sample.threads for sample in self.samples)
        outcomes = ", ".join(f"{name} {count:,}" for name, count in sorted(self.seen.items()))
        return (
            f"{self.n_requests:,} requests in {last.at_s:.0f} s ({outcomes}); {self.n_tasks:,} tasks\n"
            f"memory {first.memory_bytes / 1e6:.1f} MB after the warm-up, {last.memory_bytes / 1e6:.1f} MB at the end, "
            f"slope {self.memory_slope_bytes / 1e3:+.1f} kB a minute; "
            f"descriptors {start.descriptors}, up to {most_descriptors}, then {last.descriptors}; "
            f"threads {start.threads}, up to {most_threads}, then {last.threads}\n"
            + ("everything agrees" if not self.wrong else "WRONG: " + "; ".join(self.wrong))
        )


def soak(folder: Path, seconds: float, rate: float, every_s: float, seed: int = 1) -> Verdict:
    """Serves in `folder` and asks for so long."""
    server = AppServer(folder, APP, "--endpoint-threads", str(ENDPOINT_THREADS), "--max-body", "1000000")
    account = Account()
    try:
        samples, wrong = asyncio.run(_drive(server, account, seconds, rate, every_s, seed))
        status = server.stop()
        if status != 0:
            wrong.append(f"the server ended with status {status}")
        if "panicked" in server.stderr():
            wrong.append("something panicked")
        n_tasks, disagreements = compare(server, account)
    finally:
        server.end()
    wrong += disagreements + [f"{what}: {count} times" for what, count in account.surprises.most_common(10)]
    wrong += judge(samples)
    n_requests = samples[-1].requests
    return Verdict(tuple(samples), n_requests, n_tasks, account.seen, tuple(wrong))


async def _drive(
    server: AppServer, account: Account, seconds: float, rate: float, every_s: float, seed: int
) -> tuple[list[Sample], list[str]]:
    begun = time.monotonic()
    port = server.port
    clients = [Clients(port, account, random.Random(f"{seed}-{number}"), rate / ACTORS) for number in range(ACTORS)]
    # Everything that is opened or started once is there before the first look.
    await clients[0].one_of_each()
    await asyncio.sleep(0.5)
    samples = [look(server, begun)]
    actors = [asyncio.create_task(client.run(begun + seconds)) for client in clients]
    while time.monotonic() < begun + seconds:
        await asyncio.sleep(every_s)
        samples.append(look(server, begun))
        print(
            f"{samples[-1].at_s:6.0f} s  {samples[-1].requests:9,} requests  {samples[-1].memory_bytes / 1e6:7.1f} MB  "
            f"{samples[-1].descriptors:4} descriptors  {samples[-1].threads:4} threads",
            flush=True,
        )
    await asyncio.gather(*actors)
    wrong = []
    try:
        await asyncio.to_thread(until, lambda: look(server, begun).descriptors <= samples[0].descriptors, "all is closed", 10)
        await asyncio.to_thread(until, lambda: pending(server) == 0, "every task has ended", 10)
    except AssertionError as error:
        wrong.append(str(error))
    samples.append(look(server, begun))
    return samples, wrong


def look(server: AppServer, begun: float) -> Sample:
    """What the server holds now."""
    proc = Path(f"/proc/{server.process.pid}")
    fields = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    return Sample(
        at_s=time.monotonic() - begun,
        memory_bytes=int(fields["RssAnon"].split()[0]) * 1024,
        descriptors=len(list((proc / "fd").iterdir())),
        threads=int(fields["Threads"]),
        requests=server.gauge(Gauge.REQUESTS),
    )


def pending(server: AppServer) -> int:
    """Tasks accepted and not ended."""
    ended = sum(server.gauge(gauge) for gauge in (Gauge.FINISHED, Gauge.FAILED, Gauge.DROPPED))
    return server.gauge(Gauge.ACCEPTED) - ended


def compare(server: AppServer, account: Account) -> tuple[int, list[str]]:
    """The number of tasks, and where the server's rows and the clients' account disagree."""
    rows = server.file().rows
    wrong = []

    def must(holds: bool, what: str) -> None:
        if not holds:
            wrong.append(what)

    ops = rows["op"]
    n_ops = len(account.outcomes)
    must(bool((ops < n_ops).all()), "tasks of requests that nobody made")
    known = rows[ops < n_ops]
    tasks = np.bincount(known["op"].astype(np.int64), minlength=n_ops)
    failed = np.bincount(known["op"][known["failed_ns"] > 0].astype(np.int64), minlength=n_ops)
    outcomes = np.frombuffer(account.outcomes, np.int8)
    wanted = np.frombuffer(account.n_tasks, np.int8)
    to_fail = np.frombuffer(account.n_to_fail, np.int8)
    acknowledged, refused = outcomes == Outcome.ACKNOWLEDGED, outcomes == Outcome.REFUSED
    unknown = outcomes == Outcome.UNKNOWN
    must(bool((tasks == wanted)[acknowledged].all()), f"{(tasks != wanted)[acknowledged].sum()} answered requests lack tasks")
    must(not tasks[refused].any(), f"{np.count_nonzero(tasks[refused])} refused requests have tasks")
    some = (tasks != 0) & (tasks != wanted)
    must(not some[unknown].any(), f"{some[unknown].sum()} requests without an answer have a part of their tasks")
    has_tasks = tasks > 0
    must(
        bool((failed == to_fail)[has_tasks].all()),
        f"{(failed != to_fail)[has_tasks].sum()} requests have other tasks that failed",
    )
    must(bool((rows["started_ns"] > 0).all()), f"{np.count_nonzero(rows['started_ns'] == 0)} tasks never started")
    ends = (rows["finished_ns"] > 0).astype(int) + (rows["failed_ns"] > 0) + (rows["dropped_ns"] > 0)
    must(bool((ends == 1).all()), f"{np.count_nonzero(ends != 1)} tasks have not exactly one end")
    must(bool((rows["flushed_ns"] <= rows["started_ns"]).all()), "tasks started before their answer had left")
    gauges = {gauge: server.gauge(gauge) for gauge in (Gauge.ACCEPTED, Gauge.STARTED, Gauge.FINISHED, Gauge.FAILED)}
    must(gauges[Gauge.ACCEPTED] == gauges[Gauge.STARTED] == len(rows), f"the gauges count otherwise: {gauges}, {len(rows)} rows")
    must(gauges[Gauge.FAILED] == np.count_nonzero(rows["failed_ns"]), "the gauge of failed tasks counts otherwise")
    return len(rows), wrong


def judge(samples: list[Sample]) -> list[str]:
    """What grew that should not."""
    wrong = []
    fifth = max(1, len(samples) // 5)
    before, after = samples[int(len(samples) * WARM_UP) :][:fifth], samples[-fifth - 1 : -1]
    memory_before = statistics.median(sample.memory_bytes for sample in before)
    memory_after = statistics.median(sample.memory_bytes for sample in after)
    if memory_after > memory_before * (1 + MEMORY_GROWTH) + MEMORY_NOISE_BYTES:
        wrong.append(f"memory grew from {memory_before / 1e6:.1f} to {memory_after / 1e6:.1f} MB after the warm-up")
    # Endpoint threads and those of AnyIO come one by one and stay; nobody else's may come.
    if samples[-1].threads > samples[0].threads + ENDPOINT_THREADS + ANYIO_THREADS:
        wrong.append(f"there are {samples[-1].threads} threads")
    return wrong


def main() -> int:
    """Exit status 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=1000, help="requests a second")
    parser.add_argument("--every", type=float, default=5, help="seconds between two looks")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="afterload-soak-"))
    verdict = soak(folder, given.minutes * 60, given.rate, given.every, given.seed)
    print(verdict)
    if verdict.wrong:
        print(f"the server's files: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
