"""Who asks a server for tasks and finds the rows of just these, so that many tests can share the server."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from .conftest import Serve
from .helpers import AppServer, Task, stub, until

StartAsker = Callable[..., "Asker"]

TELLING = stub("""
told = {}
lock = threading.Lock()

def tell(op, what):
    with lock:
        told.setdefault(op, []).append(what)

@app.get("/told/{op}")
def told_by(op: str):
    return told.get(op, [])

def sync(op, n, seconds=0.0):
    time.sleep(seconds)
    tell(op, n)

async def asynchronous(op, n, seconds=0.0):
    await asyncio.sleep(seconds)
    tell(op, n)

@app.get("/order")
def order(op: str, kinds: str, background_tasks: BackgroundTasks):
    # Later ones are quicker: whoever does not wait overtakes.
    for n, kind in enumerate(kinds):
        background_tasks.add_task(sync if kind == "d" else asynchronous, op, n, seconds=0.03 * (len(kinds) - n) / len(kinds))
    return {}

def plain(op, *args, **kwargs): tell(op, ["plain", list(args), kwargs])
async def aplain(op, *args, **kwargs): tell(op, ["aplain", list(args), kwargs])
""")
"""An app whose tasks tell what they did, by operation; every app of an asker begins with it."""

_ops = itertools.count(1)


def next_op() -> int:
    """An operation that no other test of this process has."""
    return next(_ops)


class Asker:
    """Sends requests with operations of their own to a server that is shared, and finds their rows."""

    def __init__(self, server: AppServer) -> None:
        self.server = server

    def ask(self, path: str, **query: Any) -> tuple[int, Any]:
        """The operation and the body of the answer, which must be 200."""
        op = next_op()
        target = path + "?" + "&".join(f"{name}={value}" for name, value in {"op": op, **query}.items())
        answer = self.server.ask("GET", target, x_op_id=f"{op:016x}")
        assert answer.status == 200, answer
        return op, answer.json()

    def rows(self, op: int) -> list[Task]:
        """The rows of an operation."""
        return [task for task in self.server.tasks() if task.op == op]

    def ended(self, op: int, count: int) -> list[Task]:
        """The rows of an operation, once `count` of its tasks have ended."""
        until(lambda: sum(task.ended > 0 for task in self.rows(op)) == count, f"{count} tasks of {op} have ended")
        return self.rows(op)

    def told(self, op: int) -> list[Any]:
        """What the tasks of an operation told, in order."""
        return self.server.ask("GET", f"/told/{op}").json()


def askers(shared: Serve, source: str) -> StartAsker:
    """Starts a server of the app for each set of options, once."""
    known: dict[tuple[str, ...], Asker] = {}

    def get(*options: str) -> Asker:
        if options not in known:
            known[options] = Asker(shared(source, *options))
        return known[options]

    return get
