"""Everything that a server can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["MOST_THREADS", "ServerConfig"]

MOST_THREADS = 10_000


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How to serve. Raises ValueError naming the field, what was given and what is allowed."""

    host: str = "127.0.0.1"
    port: int = 8080  # 0: any free one, named when the server is ready
    pool: int = 40  # threads for `def` tasks; 40 as in Starlette
    endpoint_threads: int = 40  # at most this many threads for `def` endpoints; begun one by one when requests wait
    io_threads: int = 1
    queue_limit: int | None = None  # requests that would add tasks get 503 while so many are pending; None: no limit
    drain_s: float = 30.0  # how long a stopping server lets accepted tasks finish
    max_body: int = 16 * 1024 * 1024  # bytes of a request's body; more is answered 413
    order: str = "sequential"  # of one request's tasks; or "parallel"
    on_error: str = "continue"  # after a task raised: run the later ones of its request; "stop": skip them, as Starlette does
    rows: Path | None = None  # where to write one row a task (docs/rows.md)
    boot: int = 1
    label: str = ""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("port", 0, 65_535),
            ("pool", 1, MOST_THREADS),
            ("endpoint_threads", 1, MOST_THREADS),
            ("io_threads", 1, 256),
            ("drain_s", 0, 1_000_000),
            ("max_body", 0, 1 << 40),
            ("boot", 0, 1 << 62),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                msg = f"{name} is {value}; allowed is {low} to {high}"
                raise ValueError(msg)
        if self.queue_limit is not None and self.queue_limit < 0:
            msg = f"queue_limit is {self.queue_limit}; allowed is 0 or more, or None for no limit"
            raise ValueError(msg)
        for name, allowed in (("order", ("sequential", "parallel")), ("on_error", ("continue", "stop"))):
            value = getattr(self, name)
            if value not in allowed:
                msg = f"{name} is {value!r}; allowed is {' or '.join(map(repr, allowed))}"
                raise ValueError(msg)

    @property
    def parallel(self) -> bool:
        """The tasks of one request run side by side."""
        return self.order == "parallel"

    @property
    def stop_on_error(self) -> bool:
        """A task that raised ends its request's list."""
        return self.on_error == "stop"
