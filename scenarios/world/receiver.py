"""A receiver of webhooks, a server of its own: slow, failing, or gone for a while; knows an event that it has had before."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scenarios.rows import Rows
from scenarios.scenario import Check, Figure, Troubled
from scenarios.settings import Settings
from scenarios.wording import counted
from scenarios.world.jobs import create_store
from scenarios.world.listener import HOST, Delay, Reserved
from server import EffectRows

__all__ = ["ReceiverWorld", "check_deliveries", "start_receiver"]

_STORE: Final = "jobs.sqlite3"
_TALLY: Final = "receiver.json"
_GRACE_S: Final = 2.0
_TIME_OUTS: Final = 2  # a slow answer takes so many


@dataclass
class Tally:
    """What the receiver has counted."""

    deliveries: int = 0  # requests with an event, however they were answered
    events: int = 0  # taken in
    repeated: int = 0  # of events that had been taken in before, known by their id
    refused: int = 0  # with 503
    slow: int = 0
    gone_s: float = 0.0


class Receiver:
    """Takes each event once. The row is written just before the answer: what the sender was told has arrived."""

    def __init__(self, rows: EffectRows, settings: Settings) -> None:
        self._rows = rows
        self._settings = settings
        self.delay = Delay()
        self._deliveries: Counter[str] = Counter()
        self._taken: set[str] = set()
        self.tally = Tally()
        self.first = asyncio.Event()
        self.app = Starlette(routes=[Route("/hooks", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        op, event = request.headers.get("x-op-id", ""), request.headers.get("webhook-id", "")
        try:
            number = int(op, 16)
        except ValueError:
            number = 0
        if len(op) != 16 or number <= 0 or not event:
            return JSONResponse({"detail": "an event has an X-Op-Id of 16 hex digits and a Webhook-Id"}, 400)
        await request.body()
        self.first.set()
        self.tally.deliveries += 1
        self._deliveries[event] += 1
        await asyncio.sleep(self._settings.seconds("delay") + self.delay.take_s())
        if self._settings.happens("fail", op, self._deliveries[event]):
            self.tally.refused += 1
            return JSONResponse({"detail": "come back later"}, 503)
        if event in self._taken:
            self.tally.repeated += 1
            return JSONResponse({"status": "had before"})
        self._taken.add(event)
        self._rows.append(number, value=self._deliveries[event])
        self.tally.events += 1
        if self._settings.happens("slow", op):
            self.tally.slow += 1
            await asyncio.sleep(self._settings.seconds("timeout") * _TIME_OUTS)
        return JSONResponse({"status": "taken"})


class _Server(uvicorn.Server):
    """One life of the receiver's server. The signals belong to the process that it runs in."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class ReceiverWorld:
    """The receiver on one port, which nobody listens on while it is gone; and the app's store of jobs."""

    def __init__(self, receiver: Receiver, settings: Settings, folder: Path) -> None:
        self._receiver = receiver
        self._settings = settings
        self._folder = folder
        self._reserved = Reserved()
        self._is_dead = False
        self._leaving: asyncio.Task[None] | None = None
        self.troubled: Sequence[Troubled] = (self,)
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._absence: asyncio.Task[None] | None = None
        self._is_absent = False

    async def start(self) -> None:
        """Makes the store and begins to listen."""
        create_store(self._folder / _STORE)
        await self._come()
        if self._settings.seconds("gone_for"):
            self._absence = asyncio.create_task(self._be_absent())

    def addresses(self) -> dict[str, str]:
        """The receiver's URL, and the path of the store."""
        return {"receiver": f"http://{HOST}:{self._reserved.port}", "jobs": str((self._folder / _STORE).resolve())}

    async def close(self) -> None:
        """Lets deliveries that are being taken finish, up to the longest that one takes, and writes down what was counted."""
        if self._absence is not None:
            self._absence.cancel()
            await asyncio.gather(self._absence, return_exceptions=True)
        await self._go(self._settings.seconds("delay") + _GRACE_S)
        self._reserved.close()
        (self._folder / _TALLY).write_text(json.dumps(asdict(self._receiver.tally)), encoding="utf-8")

    # What can be done to it from outside.

    @property
    def late(self) -> int:
        """Answers that were late so far."""
        return self._receiver.delay.late

    def slow(self, delay_s: float) -> None:
        """Lets it answer so much later from now on."""
        self._receiver.delay.slow(delay_s)

    def listening(self) -> list[tuple[str, int]]:
        """Where it listens when it is not gone."""
        return [(HOST, self._reserved.port)]

    async def leave(self) -> int:
        """Is gone at once: what is being taken in is cut off, and not taken in later."""
        self._is_dead = True
        server = self._server
        if server is None:
            return 0
        connections = list(server.server_state.connections)
        for listener in server.servers:
            listener.close()
        for task in list(server.server_state.tasks):
            task.cancel()
        for connection in connections:
            if (transport := getattr(connection, "transport", None)) is not None:
                transport.abort()
        # The server itself notices within a tenth of a second; nobody can tell the difference from outside.
        self._leaving = asyncio.create_task(self._go(0.0))
        return len(connections)

    async def come_back(self) -> None:
        """Listens again, unless it is absent for reasons of its own."""
        self._is_dead = False
        if self._leaving is not None:
            await self._leaving
        if self._server is None and (self._absence is None or not self._is_absent):
            await self._come()

    async def _come(self) -> None:
        listener = await self._reserved.listener()
        config = uvicorn.Config(self._receiver.app, log_level="warning", lifespan="off", access_log=False, backlog=1024)
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        while not self._server.started:
            if self._serving.done():
                self._serving.result()
                msg = "the receiver ended before it listened"
                raise RuntimeError(msg)
            await asyncio.sleep(0.005)

    async def _go(self, grace_s: float) -> None:
        if self._server is None or self._serving is None:
            return
        self._server.should_exit = True
        done, _ = await asyncio.wait({self._serving}, timeout=grace_s)
        if not done:
            self._server.force_exit = True
            await asyncio.wait({self._serving}, timeout=_GRACE_S)
        self._server = self._serving = None

    async def _be_absent(self) -> None:
        loop = asyncio.get_running_loop()
        await self._receiver.first.wait()
        await asyncio.sleep(self._settings.seconds("gone_at"))
        began = loop.time()
        self._is_absent = True
        try:
            # What is being taken in is finished; whoever comes now is refused a connection.
            await self._go(self._settings.seconds("delay") + _GRACE_S)
            await asyncio.sleep(max(0.0, began + self._settings.seconds("gone_for") - loop.time()))
            if not self._is_dead:
                await self._come()
        finally:
            self._is_absent = False
            self._receiver.tally.gone_s = loop.time() - began


async def start_receiver(rows: EffectRows, settings: Settings, folder: Path) -> ReceiverWorld:
    """Starts the receiver on a free loopback port, and makes the store of jobs in the folder."""
    world = ReceiverWorld(Receiver(rows, settings), settings, folder)
    await world.start()
    return world


def check_deliveries(rows: Rows, settings: Settings, folder: Path) -> Check:
    """Compares the store, as it is when everything has ended, with what the receiver and the rows say."""
    store = sqlite3.connect(f"file:{folder / _STORE}?mode=ro", uri=True)
    try:
        jobs = store.execute("SELECT op, status, attempts FROM jobs WHERE op != ''").fetchall()
    finally:
        store.close()
    tally_file = folder / _TALLY
    tally = Tally(**json.loads(tally_file.read_text(encoding="utf-8"))) if tally_file.exists() else None

    tasks = rows.tasks
    # Not those that failed: whatever ended the task, a time limit for one, may have kept it from saying so.
    finished = {int(op) for op in tasks["op"][tasks["finished_ns"] > 0]}
    arrived = {int(op) for op in rows.effects["op"]}
    by_status = {status: [int(op, 16) for op, each, _ in jobs if each == status] for status in ("running", "queued", "succeeded")}
    n_retries = sum(max(0, attempts - 1) for _, _, attempts in jobs)
    n_failed = sum(status == "failed" for _, status, _ in jobs)
    running, queued = by_status["running"], by_status["queued"]
    n_running_arrived = sum(op in arrived for op in running)

    problems = []
    if contradicted := [op for op in (*running, *queued) if op in finished]:
        problems.append(f"{counted(len(contradicted), 'job')} stuck, and the task had finished (op {contradicted[0]:016x})")
    if missing := [op for op in by_status["succeeded"] if op not in arrived]:
        problems.append(f"{counted(len(missing), 'job')} that succeeded without an event at the receiver (op {missing[0]:016x})")
    if tally is None:
        problems.append("the receiver wrote no account: it was killed, or could not write")
    figures = [
        Figure(
            "stuck_running",
            len(running),
            "jobs",
            counted(len(running), "job", f"stuck in running ({n_running_arrived:,} of them delivered)"),
        ),
        Figure("stuck_queued", len(queued), "jobs", counted(len(queued), "job", "stuck in queued")),
        Figure("failed", n_failed, "jobs", counted(n_failed, "job", "failed after all attempts")),
        Figure("retries", n_retries, "attempts", counted(n_retries, "attempt", "beyond the first")),
    ]
    if tally is not None:
        figures += [
            Figure(
                "repeated",
                tally.repeated,
                "deliveries",
                counted(tally.repeated, "delivery", "of events that had arrived before", many="deliveries"),
            ),
            Figure(
                "refused", tally.refused, "deliveries", counted(tally.refused, "delivery", "refused with 503", many="deliveries")
            ),
            Figure("gone", round(tally.gone_s, 3), "s", f"the receiver was gone for {tally.gone_s:.1f} s"),
        ]
    return Check(tuple(figures), tuple(problems))
