"""Everything that a server can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from server._policies import check

__all__ = ["MOST_THREADS", "MOST_WORKERS", "WAYS", "ServerConfig"]

MOST_THREADS = 10_000
MOST_WORKERS = 256
WAYS = ("auto", "general")

_RANGES = (
    ("port", "a whole number", 0, 65_535),
    ("pool", "a whole number", 1, MOST_THREADS),
    ("endpoint_threads", "a whole number", 1, MOST_THREADS),
    ("io_threads", "a whole number", 1, 256),
    ("workers", "a whole number", 1, MOST_WORKERS),
    ("drain_s", "a number", 0, 1_000_000),
    ("admin_port", "a whole number", 0, 65_535),
    ("max_body", "a whole number", 0, 1 << 40),
    ("max_connections", "a whole number", 1, 1 << 40),
    ("head_timeout_s", "a number", 0.001, 1_000_000),
    ("body_timeout_s", "a number", 0.001, 1_000_000),
    ("write_timeout_s", "a number", 0.001, 1_000_000),
    ("keep_alive_s", "a number", 0.001, 1_000_000),
    ("switch_interval_s", "a number", 1e-6, 10),
    ("boot", "a whole number", 0, 1 << 62),
)
_MAY_BE_NONE = ("admin_port", "max_connections")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How to serve. Raises ValueError naming the field, what was given and what is allowed."""

    host: str = "127.0.0.1"
    port: int = 8080  # 0: any free one, named when the server is ready
    pool: int = 40  # threads for `def` tasks; 40 as in Starlette
    endpoint_threads: int = 40  # at most this many threads for `def` endpoints; begun one by one when requests wait
    io_threads: int = 1  # threads that read requests and write answers, without Python
    workers: int = 1  # processes that answer on the port; more than one are started and watched by a supervisor
    queue_limit: int | None = None  # requests that would add tasks get 503 while so many are pending; None: no limit
    drain_s: float = 30.0  # how long a stopping server lets accepted tasks finish
    admin_port: int | None = (
        None  # of 127.0.0.1, for /healthz, /metrics, /tasks and /routes (docs/admin.md); 0: any free one; None: none
    )
    max_body: int = 16 * 1024 * 1024  # bytes of a request's body; more is answered 413
    head_timeout_s: float = 30.0  # for the head of a request; a client that takes longer is disconnected
    body_timeout_s: float = 30.0  # between two pieces of a request's body; a longer pause is answered 408
    write_timeout_s: float = 30.0  # a client that takes nothing of its answer for so long is disconnected, and its tasks run
    keep_alive_s: float = 30.0  # a connection is closed that has had no request for so long
    max_connections: int | None = None  # one more is answered 503; None: three quarters of the descriptors that may be open
    order: str = "sequential"  # of one request's tasks; or "parallel"
    on_error: str = "continue"  # after a task raised: run the later ones of its request; "stop": skip them, as Starlette does
    task_timeout_s: float | None = (
        None  # an `async def` task is cancelled after it, a `def` one reported as overdue; None: no limit
    )
    shared_pool: bool = False  # `def` endpoints take from the threads of the pool too, first come, first served, as in Starlette
    way: str = "auto"  # each route by the fastest way that it can go; "general": all through the whole app, to compare
    trusted_proxies: str = "127.0.0.1"  # whose X-Forwarded-Proto and -For are believed: addresses, networks, or "*"
    rows: Path | None = None  # where to write one row a task (docs/rows.md); a str will do
    switch_interval_s: float = 0.001  # how long a thread may keep the GIL from another that asks for it; Python's own is 0.005
    boot: int = 1  # for the harness: which start of the server this is, as it stands in the row file
    label: str = ""  # for the harness: what the row file is called

    def __post_init__(self) -> None:
        for name, kind, low, high in _RANGES:
            value = getattr(self, name)
            if name in _MAY_BE_NONE and value is None:
                continue
            is_number = isinstance(value, int if kind == "a whole number" else (int, float)) and not isinstance(value, bool)
            if not (is_number and low <= value <= high):
                msg = f"{name} is {value!r}; allowed is {kind}, {low} to {high}{', or None' if name in _MAY_BE_NONE else ''}"
                raise ValueError(msg)
        if not (isinstance(self.host, str) and self.host):
            msg = f"host is {self.host!r}; allowed is an address or a name, e.g. '127.0.0.1', or '0.0.0.0' for all of IPv4"
            raise ValueError(msg)
        if not isinstance(self.shared_pool, bool):
            msg = f"shared_pool is {self.shared_pool!r}; allowed is True or False"
            raise ValueError(msg)
        for name in ("label", "trusted_proxies"):
            if not isinstance(value := getattr(self, name), str):
                msg = f"{name} is {value!r}; allowed is text"
                raise ValueError(msg)
        if self.rows is not None:
            object.__setattr__(self, "rows", Path(self.rows))
        for setting in ("order", "on_error", "queue_limit"):
            check(setting, setting, getattr(self, setting))
        if self.way not in WAYS:
            msg = f"way is {self.way!r}; allowed is {' or '.join(map(repr, WAYS))}"
            raise ValueError(msg)
        check("timeout_s", "task_timeout_s", self.task_timeout_s)
        if self.workers > 1 and self.admin_port:
            msg = (
                f"admin_port is {self.admin_port}; allowed with several workers is 0 (each takes a free one and names it) or None"
            )
            raise ValueError(msg)

    @property
    def parallel(self) -> bool:
        """The tasks of one request run side by side."""
        return self.order == "parallel"

    @property
    def stop_on_error(self) -> bool:
        """A task that raised ends its request's list."""
        return self.on_error == "stop"
