"""One request and its answer: which tasks were made for it, which the answer carries, and what became of them.

What stands here is paid for by every request of the app: it is written to be quick.
"""

from __future__ import annotations

from asyncio import CancelledError
from binascii import unhexlify
from collections.abc import Sequence
from contextvars import ContextVar
from time import monotonic_ns
from types import CoroutineType, FunctionType
from typing import TYPE_CHECKING, Any

from . import accelerator
from .process import Process, trouble
from .rows import ASYNC, DEF, NOWHERE, UNTAGGED, Gauge, Reason, Row

__all__ = ["Exchange", "TaskRow", "Unit", "current", "is_cancellation", "op_of"]

_MOST = 0x8000
"""Tasks of one request that a row can number, and as many spawned ones after them."""

_FINISHED = Gauge.FINISHED
_WAITING, _ENDED = Row.WAITING, Row.ENDED
_STARTABLE = (Row.WAITING, Row.DROPPED)
_OP_DIGITS = 16
_NO_SCOPE: dict[str, Any] = {}


class Unit:
    """A piece of work that may spawn more: a request until its answer has left, a task, or spawned work itself.

    What it has spawned becomes a row when the unit is over and the spawned work is not: then it can be lost by itself.
    """

    # All attributes are slots, set when it is made: in CPython 3.11 a default that stands in the class is found the slow way.
    __slots__ = ()

    if TYPE_CHECKING:
        exchange: Exchange
        is_over: bool
        children: dict[Any, None] | None

    def spawned(self, child: Any) -> None:
        """Takes note of work that it has spawned. `child` has a `publish`."""
        if self.is_over:
            child.publish()
            return
        if self.children is None:
            self.children = {}  # type: ignore[misc]  # a slot of whoever is a unit
        self.children[child] = None

    def let_go(self) -> None:
        """Makes rows of what it has spawned and what goes on."""
        children, self.children = self.children, None  # type: ignore[misc]
        if children:
            for child in list(children):
                child.publish()


current: ContextVar[Unit | None] = ContextVar("afterload_probe", default=None)
"""The unit that runs. Copied with the context: into threads, tasks, middleware and mounted apps."""


class TaskRow(Row, Unit):
    """The row of a background task of Starlette's."""

    __slots__ = ("children", "exchange", "is_over", "task")

    def __init__(self, exchange: Exchange, task: Any) -> None:
        self.exchange = exchange
        self.task = task  # kept, because it is known by being this very object
        self.children = None
        self.is_over = False
        self.page = NOWHERE
        self.base = self.state = 0

    def begin(self) -> None:
        """Just before the function is called."""
        try:
            self.start(self.exchange.has_left)
        except Exception as error:  # noqa: BLE001  # the task runs, whatever becomes of its account
            trouble("the start of a task", error)

    def over(self, error: BaseException | None) -> None:
        """The function has returned or raised."""
        try:
            self.is_over = True
            if error is None:
                # In line, as it is for nearly all.
                self.state = _ENDED
                page = self.page
                if page.is_open:
                    self.words[self.base + 5] = monotonic_ns()
                    page.words[_FINISHED] = page.next_finished()
            elif not is_cancellation(error):
                self.fail()
                self.exchange.has_failed(self)
            elif self.exchange.process.is_ending(error):
                self.drop(Reason.ABANDONED)
            else:
                self.fail(Reason.CANCELLED)
                self.exchange.has_failed(self)
            if self.children:
                self.let_go()
        except Exception as trouble_of_ours:  # noqa: BLE001  # as above
            trouble("the end of a task", trouble_of_ours)


class Exchange(Unit):
    """What the probe knows of one request. All of it happens in one event loop, but for tasks that start and end in threads."""

    __slots__ = (
        "_carried",
        "_has_failed",
        "_n_spawned",
        "_next",
        "_op",
        "_op_text",
        "_send",
        "children",
        "has_left",
        "is_over",
        "made",
        "process",
        "rows",
        "running",
        "scope",
    )

    def __init__(self, process: Process, scope: Any, send: Any) -> None:
        self.process = process
        self.scope = scope
        self._send = send
        self.made: list[Any] | tuple[()] = ()
        """Tasks that were made in it and have no row yet, in the order in which they were: a list, once there is one."""
        self.rows: list[TaskRow] | tuple[()] = ()
        self.has_left = self.is_over = self._has_failed = False
        """`has_left`: the last byte of the answer has been handed to the server."""
        self.running: TaskRow | None = None
        """The `async def` task that runs. In the context of the request itself, which so need not be changed."""
        self.children = None
        self._carried: Sequence[Any] | None = None
        self._next = self._n_spawned = self._op = 0
        self._op_text = b""

    @property
    def exchange(self) -> Exchange:  # type: ignore[override]
        """Itself. Not an attribute: a cycle in each request would be work for the garbage collector."""
        return self

    @property
    def op(self) -> int:
        """The client's operation id, or one that says that there is none."""
        if not self._op:
            process = self.process
            self._op = _op_in(self._op_text or _op_text(self.scope)) or UNTAGGED | process.untagged | process.page.next_untagged()
        return self._op

    def is_simply_over(self) -> bool:
        """The app has returned. True: nothing is left to be done, as nearly always; False: `end` has to look.

        A server's timers copy the context, and with it this object, and outlive the request: what it was about is let go.
        """
        if not self.has_left or self.made or self.children is not None:
            return False
        rows = self.rows
        if rows:
            if len(rows) != 1 or rows[0].state != _ENDED:
                return False
            self.rows = ()
            self._carried = None
        else:
            for name, value in self.scope.get("headers", ()):
                if name == b"x-op-id":
                    self._op_text = value  # for what may still be spawned in a copy of its context
                    break
        self.is_over = True
        self.scope = _NO_SCOPE
        self._send = _sent_too_late
        return True

    def is_of(self, scope: Any) -> bool:
        """Whether this scope is of the same request: the very same, or made from it on the way to a mounted app."""
        own = self.scope
        return scope is own or scope.get("headers") is own.get("headers") or scope.get("asgi") is own.get("asgi") is not None

    def answer(self, message: Any) -> Any:
        """Stands between the app and the server: what was made has its row before a byte leaves. Awaited as the server's own."""
        kind = message["type"]
        if kind == "http.response.start":
            if self.made or self.children:
                self._settle()
        elif (kind == "http.response.body" and not message.get("more_body")) or kind == "http.response.pathsend":
            if self.made or self.children:
                self._settle()
            if not self.has_left:
                self.has_left = True
                self.process.n_answered += 1
        return self._send(message)

    def task_made(self, task: Any) -> None:
        """A task was made in this request."""
        if not self.has_left:
            self.made = [*self.made, task]
        elif not self.is_over:
            self._accept(task, monotonic_ns())  # perhaps added to a list that is being run

    def response_begins(self, background: list[Any]) -> None:
        """A response is about to be sent, and these tasks are those that it carries."""
        made, rows = self.made, self.rows
        if made:
            now = monotonic_ns()
            self.made = ()
            for task in made:
                self._accept(task, now)
            rows = self.rows
        is_plain = self._carried is None and len(background) == len(rows)
        if is_plain:
            for task, row in zip(background, rows):  # noqa: B905  # equally long, and 3.10's zip is quicker without asking
                if row.task is not task:
                    is_plain = False
        if is_plain:
            self._carried = background
        else:
            self._carry(background)

    def accept_all(self) -> None:
        """A response is about to be sent that carries exactly what was made in this request."""
        made, self.made = self.made, ()
        self._carried = made
        now = monotonic_ns()
        page = self.process.page
        functions, claim, op = page.functions, page.claim, self._op or self.op
        rows = []
        # As `_accept` does, in line.
        for index, task in enumerate(made):
            func = task.func
            number = functions.get(func) if type(func) is FunctionType else None
            if number is None:
                number = page.number_of(func)
            row = TaskRow(self, task)
            if index < _MOST:
                claim(row, op, index | number << 16 | (ASYNC if task.is_async else DEF) << 32 | 1 << 40, now)
            else:
                page.count_unwritten()
            rows.append(row)
        self.rows = rows

    def next_row(self, task: Any) -> TaskRow | None:
        """The row of a task that is called as Starlette does: the only one, after the answer. None: it must be looked for."""
        rows = self.rows
        if len(rows) == 1 and self.has_left and self.running is None:
            row = rows[0]
            if row.task is task and row.state == _WAITING and task.is_async and row.page.is_open:
                return row
        return None

    def start_of(self, task: Any) -> TaskRow:
        """The row of a task that is called now: its own, or a new one for a call by hand."""
        rows, position = self.rows, self._next
        row = rows[position] if position < len(rows) else None
        if row is None or row.task is not task or row.state not in _STARTABLE:
            for position, row in enumerate(rows):  # noqa: B007  # it is, after the loop
                if row.task is task and row.state in _STARTABLE:
                    break
            else:
                self.made = [made for made in self.made if made is not task]
                row = self._accept(task, monotonic_ns())
                rows = self.rows
                position = len(rows) - 1
        self._next = position + 1
        if not position and self.has_left and (len(rows) > 1 or not task.is_async):
            # It may be long until they start. A single `async def` one starts now, and has it from there.
            now = monotonic_ns()
            for other in rows:
                other.flushed(now)
        return row

    def has_failed(self, row: TaskRow) -> None:
        """That task has raised, or was cancelled: Starlette does not start those after it."""
        if self._has_failed:
            return
        self._has_failed = True
        is_after = False
        for other in self.rows:
            if is_after and other.state == Row.WAITING:
                other.drop(Reason.SKIPPED)
            is_after = is_after or other is row

    def end(self, error: BaseException | None) -> None:
        """The app has returned, or raised."""
        if self.made:
            self._settle()
        if not self.has_left:
            self.process.n_answered += self.scope.get("type") == "http"
        reason = Reason.DISCARDED
        if self._has_failed:
            reason = Reason.SKIPPED
        elif error is not None and self._carried and is_cancellation(error):
            reason = Reason.ABANDONED if self.process.is_ending(error) else Reason.CANCELLED
        is_left_over = False
        for row in self.rows:
            if row.state == Row.WAITING:
                row.drop(reason)
            is_left_over = is_left_over or row.state == Row.DROPPED
        if not is_left_over:
            self.rows = ()  # a cycle less; what was dropped may still be called by hand
        self.is_over = True
        if self.children:
            self.let_go()

    def next_spawned(self) -> int:
        """The position of the next piece of spawned work."""
        self._n_spawned += 1
        return _MOST + self._n_spawned - 1

    def _carry(self, background: list[Any]) -> None:
        counts: dict[int, int] = {}
        for task in background:
            counts[id(task)] = counts.get(id(task), 0) + 1
            n_waiting = sum(1 for row in self.rows if row.task is task and row.state in _STARTABLE)
            if n_waiting < counts[id(task)]:
                self._accept(task, monotonic_ns())
        carried = self._carried = [*(self._carried or ()), *background]
        ids = {id(task) for task in carried}
        for row in self.rows:
            if id(row.task) in ids:
                row.take_back()
            elif row.state == Row.WAITING:
                # Of an endpoint that raised, or whose response has a background of its own: Starlette never runs them.
                row.drop(Reason.DISCARDED)

    def _settle(self) -> None:
        try:
            made, self.made = self.made, ()
            for task in made:
                self._accept(task, monotonic_ns())
            if self.children:
                self.let_go()
        except Exception as error:  # noqa: BLE001  # the answer leaves, whatever becomes of its account
            trouble("an answer", error)

    def _accept(self, task: Any, now: int) -> TaskRow:
        row = TaskRow(self, task)
        rows = self.rows
        page = self.process.page
        index = len(rows)
        if index < _MOST:
            kind = ASYNC if getattr(task, "is_async", True) else DEF
            func = getattr(task, "func", task)
            number = page.functions.get(func) if type(func) is FunctionType else None
            if number is None:
                number = page.number_of(func)
            page.claim(row, self._op or self.op, index | number << 16 | kind << 32 | 1 << 40, now)
        else:
            page.count_unwritten()
        if rows:
            rows.append(row)
        else:
            self.rows = [row]
        return row


async def _sent_too_late(message: Any) -> None:
    """Stands for a server's `send` once app and answer are over."""
    msg = f"Unexpected ASGI message '{message.get('type')}' sent, after the app has returned and the response is complete."
    raise RuntimeError(msg)


def is_cancellation(error: BaseException) -> bool:
    """Whether what raised this was cancelled: by asyncio, by trio, or by being closed.

    By its class, and not by its name: an app may call an error of its own so. `concurrent.futures` has a `CancelledError` too,
    which is an ordinary one.
    """
    if isinstance(error, (CancelledError, GeneratorExit)):
        return True
    kind = type(error)
    # Without an import of trio, which may not be there.
    return kind.__name__ == "Cancelled" and kind.__module__.partition(".")[0] == "trio" and not isinstance(error, Exception)


def op_of(scope: Any) -> int:
    """The operation id that the client has sent; 0: none that is one."""
    return _op_in(_op_text(scope))


def _op_text(scope: Any) -> bytes:
    for name, value in scope.get("headers", ()):
        if name == b"x-op-id":
            return bytes(value)
    return b""


def _op_in(text: bytes) -> int:
    if len(text) != _OP_DIGITS:
        return 0
    try:
        # Hexadecimal digits and nothing else of what int() would take: no sign, no 0x, no underscore, no blank.
        op = int.from_bytes(unhexlify(text), "big")
    except ValueError:
        return 0
    return 0 if op & UNTAGGED else op


def _place(row: Any) -> Any:
    """The words of the segment in which a compiled row is."""
    return row.page.segment(row._position)  # noqa: SLF001  # ours


def _dress() -> None:
    """Puts the compiled classes in the place of those in Python, which have done nothing yet."""
    global Exchange, TaskRow
    compiled = accelerator.module
    Exchange = accelerator.dress(compiled.Exchange, Exchange, {})  # type: ignore[misc]
    page = property(lambda row: row._page or NOWHERE)  # noqa: SLF001  # ours
    TaskRow = accelerator.dress(compiled.TaskRow, TaskRow, {"page": page, "words": property(_place)})  # type: ignore[misc]
    accelerator.begin_hooks(
        current=current,
        coroutine_type=CoroutineType,
        function_type=FunctionType,
        follow=_follow,
        trouble=trouble,
        op_of=op_of,
        no_scope=_NO_SCOPE,
        sent_too_late=_sent_too_late,
    )


async def _follow(awaitable: Any) -> Any:
    """Stands for something to await that is no coroutine."""
    return await awaitable


if accelerator.module is not None:
    _dress()
