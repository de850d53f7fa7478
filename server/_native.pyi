"""The compiled core of the server. Made for server/*.py; the public surface is the package's `__init__`."""

from asyncio import Task
from collections.abc import Callable, Sequence
from contextvars import Context
from pathlib import Path
from typing import Any

from starlette.requests import Request

class TaskList:
    """Calls to run after the response. The base of `server.BackgroundTasks`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Arguments are taken for the sake of Starlette's signature and ignored."""

    def add_task(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Adds a call. Raises TypeError if `func` is not callable, and RuntimeError if the tasks of its request have all ended.

        A list that belongs to no request, because it was not injected, is Starlette's: it keeps the call in its `tasks`.
        """

    def __bool__(self) -> bool:
        """True, also while it is empty."""

    def __len__(self) -> int:
        """Calls added and not accepted yet."""

class AsyncJob:
    """A request whose endpoint is `async def`, on its way through the event loop."""

    @property
    def route(self) -> int:
        """The number of its route."""

    def prepare(self) -> tuple[Callable[..., Any], dict[str, Any]] | None:
        """The endpoint and its arguments; None if the request has been handed over."""

    def respond(self, value: Any) -> None:
        """Answers with what the endpoint returned and accepts its tasks."""

    def fail(self, error: BaseException) -> None:
        """Answers an exception of the endpoint and discards its tasks."""

def is_untouched(task: Task[Any], n_references: int, name: str) -> bool:
    """Whether what just ran in the current task of asyncio left nothing behind: no more than `n_references` references to the
    task, and no attribute, callback, request to cancel or other name of it, nor any context variable.
    """

class AsyncChain:
    """The tasks of one request, the next of which is `async def`."""

    def context(self) -> Context | None:
        """The context variables as they were at the next task's `add_task`."""

    def begin(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any] | None, float | None] | None:
        """Starts the next `async def` task, whose end must then be told: function, arguments, seconds that it may run. None: no
        more here; the rest goes its own way.
        """

    def finished(self) -> None:
        """The task has returned."""

    def failed(self, error: BaseException) -> None:
        """The task has raised."""

class RoutePolicy:
    """How the tasks of one route are run; its pending tasks are counted here, if they have a limit."""

    def __init__(self, policy: Any) -> None:
        """`policy`: a `TaskPolicy` (server/_policies.py)."""

class AsgiCall:
    """One HTTP request for the ASGI app: what server/_bridge.py needs of its connection."""

    @property
    def id(self) -> int:
        """By this number the event loop is told whom to wake."""

    def wanted(self) -> tuple[str, Any, Request | None]:
        """Begins; to be called once. What the app is to do: ("answer", None, None), ("explain", exception, request) or
        ("send", response, request). None for a request: it could not be made.
        """

    def scope(self) -> dict[str, Any]:
        """The ASGI scope, without `app` and `state`."""

    def receive(self) -> dict[str, Any] | None:
        """The next ASGI event. None: there is none yet; the event loop will be told when there is."""

    @property
    def needs_policy(self) -> bool:
        """Whether the server has found no route for the request, so that the app has to say which policy counts."""

    def use_policy(self, policy: RoutePolicy, admit: bool) -> bool:
        """Says how its tasks are run. False: it may `admit` none, because as many as may be are pending."""

    def bind(self, tasks: TaskList) -> None:
        """Lets tasks be added to a list that this request's answer carries."""

    def adopt(self, tasks: TaskList) -> None:
        """Makes a list the one that is injected in this request."""

    def list(self) -> TaskList | None:
        """The list that was adopted."""

    def start(self, status: int, headers: Sequence[tuple[bytes, bytes]], tasks: TaskList | None) -> bool:
        """Starts the answer and accepts `tasks`. False: the server has answered by itself, and nothing of the app's is sent.

        Raises ValueError for a header that cannot be sent, RuntimeError if the answer was started before.
        """

    def send(self, body: Any, more: bool) -> bool:
        """Sends a piece of the answer. True: the client is behind; wait until `is_writable`. Raises RuntimeError out of turn."""

    def flush_head(self) -> None:
        """Sends the head without waiting for the first piece of the body."""

    @property
    def is_writable(self) -> bool:
        """Whether the app may go on sending."""

    def accept_late(self, tasks: TaskList) -> bool:
        """Accepts what was added while the answer was streamed. False: the server is giving up, and the answer must not end."""

    def accept_apart(self, tasks: TaskList) -> None:
        """Accepts tasks that the request's answer did not carry but the app has called for, and lets them run."""

    def run_tasks(self) -> bool:
        """The app has called for the tasks of its answer. True: they run or will, and `have_tasks_ended` will tell."""

    @property
    def have_tasks_ended(self) -> bool:
        """Whether all tasks of the answer have ended. The event loop is told when they have."""

    def finish(self) -> None:
        """The app has returned or raised: 500 if nothing was answered, a broken connection if it was left unfinished."""

class WebSocketCall:
    """One web socket for the ASGI app."""

    @property
    def id(self) -> int:
        """By this number the event loop is told whom to wake."""

    def scope(self) -> dict[str, Any]:
        """The ASGI scope, without `app` and `state`."""

    def receive(self) -> dict[str, Any] | None:
        """The next ASGI event. None: there is none yet; the event loop will be told when there is."""

    def accept(self, subprotocol: str | None, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Completes the handshake. Raises RuntimeError if it was answered before."""

    def deny(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        """Answers the handshake with a plain response. Raises RuntimeError if it was answered before."""

    def send(self, text: str | None, binary: bytes | None) -> bool | None:
        """Sends a message. None: the socket is closed. True: the client is behind; wait until `is_writable`."""

    @property
    def is_writable(self) -> bool:
        """Whether the app may go on sending."""

    def close(self, code: int, reason: str) -> None:
        """Closes the socket; before the handshake: denies it with 403."""

    def finish(self, failed: bool) -> None:
        """The app has returned, or (`failed`) raised."""

class EffectRows:
    """A file of effect rows (docs/rows.md), for the servers that tasks talk to. May be shared by threads."""

    def __init__(self, path: Path | str, label: str = "") -> None:
        """Raises FileExistsError (an account is never overwritten) or another OSError."""

    def append(self, op: int, *, index: int = 0, value: int = 0) -> None:
        """Writes down, with the time, that an effect of operation `op` arrived; `index` is its task's position in the request."""

    def close(self) -> None:
        """Marks the file as closed in good order."""

class Server:
    """The server. In order: `bind` or `adopt`, `set_routes`, threads in `run_worker`, `run_lane` and the event loop, `start`,
    `drain`, `abandon` if that was False, `close`.
    """

    def __init__(self, settings: Any, helpers: Any) -> None:
        """`settings` has the fields of `ServerConfig`, `helpers` the callables of `server._serve.Helpers`. Raises OSError if the
        row file cannot be made.
        """

    def set_routes(self, routes: list[Any], policies: list[RoutePolicy], redirect_slashes: bool, misses_to_app: bool) -> None:
        """Freezes the routes (`RouteSpec`) and how the tasks of each are run. What no route takes is answered by the app if
        `misses_to_app`. Raises ValueError for a path that cannot be routed.
        """

    def bind(self, host: str, port: int) -> int:
        """Opens the port and returns its number. Raises OSError."""

    def adopt(self, descriptor: int) -> int:
        """Instead of `bind`: listens on a duplicate of this listening socket, and returns its port. Raises OSError."""

    def bind_admin(self, port: int) -> int:
        """Opens the admin port on loopback and returns its number. Raises OSError."""

    def start_admin(self) -> None:
        """Starts answering on the admin port, without ever needing the GIL for it. On the thread that serves, first of all."""

    def close_admin(self) -> None:
        """Ends those threads, if there are any. After everything else."""

    def start(self, control: int) -> None:
        """Starts answering. `control`: descriptor to which single-byte requests to the main thread are written."""

    def run_worker(self, number: int) -> None:
        """The life of a pool thread; returns when the server is closed."""

    def run_lane(self, number: int) -> None:
        """The life of an endpoint thread; returns when the server is closed."""

    def add_lane(self) -> int | None:
        """The number of one more endpoint thread; None if there are as many as there may be."""

    def lane_failed(self) -> None:
        """Takes back what `add_lane` counted."""

    def lend(self, call: Callable[[], None]) -> bool:
        """Has `call` called on an endpoint thread. True: it has to wait, so that more threads may be needed."""

    def lane_progress(self, before: int | None) -> int | None:
        """How much endpoint threads have taken so far; None if nothing waits for them, or there are as many as there may be.

        If that is `before`, one more thread is asked for.
        """

    def set_pool(self, size: int) -> None:
        """Lets the first `size` pool threads take tasks; the others sleep."""

    def take_overdue(self) -> list[tuple[Callable[..., Any], int, bool, float]]:
        """Tasks that have become overdue since the last call: function, operation, whether `async def`, age in seconds."""

    def setting(self, number: int) -> int:
        """What the harness asks for (docs/rows.md); 0: nothing."""

    def doorbell(self) -> int:
        """A descriptor that is readable while the event loop has work."""

    def take(self) -> list[AsyncJob | AsyncChain | AsgiCall | WebSocketCall | int]:
        """The event loop's work, oldest first."""

    def beat(self, period_s: float) -> None:
        """Tells the gauges that the event loop is alive, and when it beats next."""

    def in_flight(self) -> int:
        """Requests that have not been answered."""

    def pending(self) -> int:
        """Tasks accepted and not ended."""

    def is_quiet(self) -> bool:
        """Whether nothing is under way: no request, no task."""

    def drain(self, drain_s: float) -> bool:
        """Stops accepting and waits, without the GIL, until everything accepted has ended. False: `drain_s` were over first."""

    def abandon(self) -> list[tuple[str, bool]]:
        """Drops every connection, starts no task any more, and returns the tasks given up: name and whether running."""

    def close(self) -> None:
        """Drops every connection, ends I/O threads and idle ones, and marks the row file as closed in good order."""
