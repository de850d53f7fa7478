"""One request and its answer: which tasks were made for it, which the answer carries, and what became of them."""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Iterable
from contextvars import ContextVar
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from .process import Process, trouble
from .rows import ASYNC, DEF, UNTAGGED, Reason, Row

__all__ = ["Exchange", "TaskRow", "Unit", "current", "is_cancellation", "name_of", "op_of"]

_MOST = 0x8000
"""Tasks of one request that a row can number, and as many spawned ones after them."""

_CANCELLED = frozenset({"CancelledError", "Cancelled", "GeneratorExit"})


class Unit:
    """A piece of work that may spawn more: a request until its answer has left, a task, or spawned work itself.

    What it has spawned becomes a row when the unit is over and the spawned work is not: then it can be lost by itself.
    """

    if TYPE_CHECKING:  # each class has them among its own slots
        exchange: Exchange
        is_over: bool
        children: dict[Any, None] | None
    else:
        __slots__ = ()

    def spawned(self, child: Any) -> None:
        """Takes note of work that it has spawned. `child` has a `publish`."""
        if self.is_over:
            child.publish()
            return
        if self.children is None:
            self.children = {}
        self.children[child] = None

    def let_go(self) -> None:
        """Makes rows of what it has spawned and what goes on."""
        children, self.children = self.children, None
        if children:
            for child in list(children):
                child.publish()


current: ContextVar[Unit | None] = ContextVar("afterload_probe", default=None)
"""The unit that runs. Copied with the context: into threads, tasks, middleware and mounted apps."""


class TaskRow(Row, Unit):
    """The row of a background task of Starlette's."""

    __slots__ = ("__weakref__", "children", "exchange", "is_over", "task")

    def __init__(self, exchange: Exchange, task: Any) -> None:
        super().__init__()
        self.exchange = exchange
        self.task = task  # kept, so that its id stays its own
        self.is_over = False
        self.children: dict[Any, None] | None = None

    def begin(self) -> None:
        """Just before the function is called."""
        try:
            self.start()
        except Exception as error:  # noqa: BLE001  # the task runs, whatever becomes of its account
            trouble("the start of a task", error)

    def over(self, error: BaseException | None) -> None:
        """The function has returned or raised."""
        try:
            self.is_over = True
            if error is None:
                self.finish()
            elif is_cancellation(error):
                self.drop(Reason.ABANDONED)
            else:
                self.fail()
                self.exchange.has_failed(self)
            if self.children:
                self.let_go()
        except Exception as trouble_of_ours:  # noqa: BLE001  # as above
            trouble("the end of a task", trouble_of_ours)


class Exchange(Unit):
    """What the probe knows of one request. All of it happens in one event loop, but for tasks that start and end in threads."""

    __slots__ = (
        *("_carried", "_has_failed", "_is_open", "_n_spawned", "_n_tasks", "_rows", "_send", "_waiting"),
        *("children", "is_over", "made", "op", "process", "scope"),
    )

    def __init__(self, process: Process, scope: Any, send: Any) -> None:
        self.process = process
        self.scope = scope
        self.made: list[Any] = []  # tasks that were made in it and have no row yet, in the order in which they were
        self.children: dict[Any, None] | None = None
        self.is_over = False
        self._send = send
        self._is_open = True  # not answered yet
        self._rows: list[TaskRow] = []
        self._waiting: dict[int, list[TaskRow]] = {}  # rows that wait for their start, by the id of their task
        self._carried: set[int] = set()
        self._has_failed = False
        self._n_tasks = 0
        self._n_spawned = 0
        self.op = op_of(scope) or UNTAGGED | process.untagged | process.page.next_untagged()

    @property
    def exchange(self) -> Exchange:  # type: ignore[override]
        """Itself. Not an attribute: a cycle in each request would be work for the garbage collector."""
        return self

    def is_of(self, scope: Any) -> bool:
        """Whether this scope is of the same request: the very same, or made from it on the way to a mounted app."""
        own = self.scope
        return scope is own or scope.get("headers") is own.get("headers") or scope.get("asgi") is own.get("asgi") is not None

    async def send(self, message: Any) -> None:
        """Stands between the app and the server: what was made has its row before a byte leaves."""
        kind = message["type"]
        if kind == "http.response.start":
            self._settle()
        elif (kind == "http.response.body" and not message.get("more_body")) or kind == "http.response.pathsend":
            self._settle()
            await self._send(message)
            self._left()
            return
        await self._send(message)

    def task_made(self, task: Any) -> None:
        """A task was made in this request."""
        if self._is_open:
            self.made.append(task)
        elif not self.is_over:
            self._accept(task)  # perhaps added to a list that is being run

    def response_begins(self, background: Iterable[Any]) -> None:
        """A response is about to be sent, and these tasks are those that it carries."""
        if self.made:
            self._accept_made()
        carried, waiting = self._carried, self._waiting
        counts: dict[int, int] = {}
        for task in background:
            key = id(task)
            counts[key] = count = counts.get(key, 0) + 1
            if len(waiting.get(key, ())) < count:
                self._accept(task)
        if len(waiting) > len(counts) or carried:
            carried.update(counts)
            for key, rows in waiting.items():
                for row in rows:
                    if key in carried:
                        row.take_back()
                    elif row.state == Row.WAITING:
                        # Of an endpoint that raised, or whose response has a background of its own: Starlette never runs them.
                        row.drop(Reason.DISCARDED)
        else:
            carried.update(counts)

    def start_of(self, task: Any) -> TaskRow:
        """The row of a task that is called now: its own, or a new one for a call by hand."""
        rows = self._waiting.get(id(task))
        if not rows:
            self.made = [made for made in self.made if made is not task]
            self._accept(task)
            rows = self._waiting[id(task)]
        row = rows.pop(0)
        if not rows:
            del self._waiting[id(task)]
        return row

    def has_failed(self, row: TaskRow) -> None:
        """That task has raised: Starlette does not start those after it."""
        if self._has_failed:
            return
        self._has_failed = True
        is_after = False
        for other in self._rows:
            if is_after and other.state == Row.WAITING:
                other.drop(Reason.SKIPPED)
            is_after = is_after or other is row

    def end(self, error: BaseException | None) -> None:
        """The app has returned, or raised."""
        if self._is_open:
            self._is_open = False
            self.process.page.request_ends()
        if self.made:
            self._accept_made()
        if self._waiting:
            reason = Reason.DISCARDED
            if self._has_failed:
                reason = Reason.SKIPPED
            elif error is not None and self._carried and is_cancellation(error):
                reason = Reason.ABANDONED
            for rows in self._waiting.values():
                for row in rows:
                    if row.state == Row.WAITING:
                        row.drop(reason)
        self.is_over = True
        self._rows = []
        if self.children:
            self.let_go()

    def next_spawned(self) -> int:
        """The position of the next piece of spawned work."""
        self._n_spawned += 1
        return _MOST + self._n_spawned - 1

    def _settle(self) -> None:
        try:
            if self.made:
                self._accept_made()
            if self.children:
                self.let_go()
        except Exception as error:  # noqa: BLE001  # the answer leaves, whatever becomes of its account
            trouble("an answer", error)

    def _left(self) -> None:
        if self._is_open:
            self._is_open = False
            self.process.page.request_ends()
        if self._rows:
            now = monotonic_ns()
            for row in self._rows:
                row.flushed(now)

    def _accept_made(self) -> None:
        made, self.made = self.made, []
        for task in made:
            self._accept(task)

    def _accept(self, task: Any) -> None:
        row = TaskRow(self, task)
        index, self._n_tasks = self._n_tasks, self._n_tasks + 1
        page = self.process.page
        if index < _MOST:
            kind = ASYNC if getattr(task, "is_async", True) else DEF
            page.claim(row, self.op, index, name_of(getattr(task, "func", task)), kind, monotonic_ns())
        else:
            page.count_unwritten()
        self._rows.append(row)
        self._waiting.setdefault(id(task), []).append(row)


def is_cancellation(error: BaseException) -> bool:
    """Whether the loop has given up what raised this: asyncio's, trio's, or the end of the loop itself."""
    return type(error).__name__ in _CANCELLED


def op_of(scope: Any) -> int:
    """The operation id that the client has sent; 0: none that is one."""
    text = dict(scope.get("headers", ())).get(b"x-op-id")
    if text is None or len(text) != 16:
        return 0
    try:
        op = int.from_bytes(unhexlify(text), "big")
    except ValueError:
        return 0
    return 0 if op & UNTAGGED else op


def name_of(func: Any) -> str:
    """What a person calls a callable: its name within its module, a partial's function's, or the name of its class."""
    while True:
        name = getattr(func, "__qualname__", None)
        inner = getattr(func, "func", None)
        if isinstance(name, str) or inner is None:
            break
        func = inner
    if not isinstance(name, str):
        name = type(func).__qualname__
    return name.rpartition("<locals>.")[2] if "<locals>" in name else name
