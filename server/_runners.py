"""`async def` endpoints: one task of asyncio each, or one for a burst of those that never wait.

Making a task costs about as much as all else that the interpreter does for a small request. So a runner takes one request after
another for as long as nobody could tell: it goes on with the next only if the one before never waited, left no context
variable behind, and left nothing on the task and no reference to it. Any other endpoint has a task to itself from its first step
to its last, and the endpoints of a route that has ever waited are given one at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from sys import getrefcount
from typing import Any
from weakref import getweakrefcount

from server._native import AsyncJob, is_untouched

__all__ = ["Runners", "Running", "keep"]

Running = dict[Any, asyncio.Task[None]]
"""Tasks of the server's own by what each works on. Each takes itself out at its end: a callback would cost a turn of the loop."""


def keep(running: Running, work: Any, task: asyncio.Task[None]) -> None:
    """Adds a task, which has just been made. With an eager task factory (Python 3.12) it may be over already."""
    if not task.done():
        running[work] = task


class Runners:
    """The requests that wait for the event loop, and the tasks that run them. Belongs to the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, running: Running) -> None:
        """`running`: the tasks that are to be cancelled at the end, by what each works on."""
        self._loop = loop
        self._running = running
        self._jobs: deque[AsyncJob] = deque()
        self._newest: _Runner | None = None
        self._waiting_routes: set[int] = set()

    def add(self, job: AsyncJob) -> None:
        """Begins it, if its route is one that waits; others are begun by the next `run`."""
        if job.route in self._waiting_routes:
            keep(self._running, job, self._loop.create_task(_run_alone(job, self._running)))
        else:
            self._jobs.append(job)

    def run(self) -> None:
        """Begins what was added."""
        if self._newest is not None:
            # It was to take all of them in its first step. That is over: it has ended, or what it runs waits for something.
            if self._newest.route is not None:
                self._waiting_routes.add(self._newest.route)
            self._newest.has_waited = True
            self._newest = None
        if self._jobs:
            self._newest = runner = _Runner(self._jobs)
            keep(self._running, runner, self._loop.create_task(runner.run(self._running)))
            self._loop.call_soon(self.run)

    def drop(self) -> None:
        """Forgets those that have not begun; the server answers them."""
        self._jobs.clear()


class _Runner:
    """One task of asyncio."""

    __slots__ = ("_jobs", "has_waited", "route")

    def __init__(self, jobs: deque[AsyncJob]) -> None:
        self._jobs = jobs
        self.has_waited = False
        self.route: int | None = None  # of the request that it runs

    async def run(self, running: Running) -> None:
        jobs, task = self._jobs, asyncio.current_task()
        assert task is not None, "it is run as one"
        name, n_references, n_weak = task.get_name(), getrefcount(task), getweakrefcount(task)
        try:
            while True:
                job = jobs.popleft()
                self.route = job.route
                await _run(job)
                if not jobs or self.has_waited or getweakrefcount(task) != n_weak or not is_untouched(task, n_references, name):
                    return
        finally:
            self.route = None
            running.pop(self, None)


async def _run_alone(job: AsyncJob, running: Running) -> None:
    try:
        await _run(job)
    finally:
        running.pop(job, None)


async def _run(job: AsyncJob) -> None:
    if (call := job.prepare()) is None:
        return
    endpoint, arguments = call
    try:
        value = await endpoint(**arguments)
    except BaseException as error:  # noqa: BLE001  # also a SystemExit of an endpoint is an answer, not the server's end
        job.fail(error)
    else:
        job.respond(value)
