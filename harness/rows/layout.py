"""The binary layout of row files: offsets, kinds, codes and numpy types. Described in docs/rows.md; no input or output here."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np

__all__ = [
    "GAUGES_OFFSET",
    "HEADER_BYTES",
    "MAGIC",
    "NAMES_OFFSET",
    "NAME_BYTES",
    "N_GAUGES",
    "N_NAMES",
    "ROW_TYPES",
    "SETTINGS_OFFSET",
    "UNTAGGED",
    "VERSION",
    "DropReason",
    "Gauge",
    "HeaderField",
    "Kind",
    "Outcome",
    "RequestError",
    "TaskKind",
]

MAGIC: Final = b"AFTROWS1"
VERSION: Final = 1
HEADER_BYTES: Final = 16_384
LABEL_OFFSET: Final = 128
LABEL_BYTES: Final = 64
GAUGES_OFFSET: Final = 256
N_GAUGES: Final = 96
SETTINGS_OFFSET: Final = 1024
NAMES_OFFSET: Final = 4096
NAME_BYTES: Final = 64
N_NAMES: Final = 192

UNTAGGED: Final = 1 << 63
"""Bit of an `op` that no client made: the request carried no operation id."""


class Kind(IntEnum):
    """What a row file holds."""

    REQUESTS = 1
    TASKS = 2
    EFFECTS = 3
    GAUGES = 4
    MACHINE = 5


class HeaderField(IntEnum):
    """Byte offsets of the 8-byte header fields."""

    PID = 24
    BOOT = 32
    CREATED = 40
    CREATED_UNIX = 48
    CLAIMED = 56
    CLOSED = 64
    UNWRITTEN = 72
    NAMES_USED = 80
    CLOCK_OFFSET = 88
    CLOCK_UNCERTAINTY = 96


class Gauge(IntEnum):
    """Word numbers in the gauge page. A load generator uses a part of them for itself."""

    READY = 0
    DRAINING = 1
    POOL_SIZE = 2
    POOL_BUSY = 3
    POOL_WAITING = 4
    ACCEPTED = 5
    STARTED = 6
    FINISHED = 7
    FAILED = 8
    DROPPED = 9
    REQUESTS_IN_FLIGHT = 10
    REQUESTS = 11
    LANES = 12
    LANES_BUSY = 13
    LANES_WAITING = 14
    LOOP_BEAT = 15
    LOOP_BEAT_PERIOD = 16
    LOOP_TASKS = 17
    REFUSED = 18
    ABANDONED_QUEUED = 19
    ABANDONED_RUNNING = 20
    DRAINED = 21
    CPU = 22
    SHARED_POOL = 23
    OVERDUE = 24


class Outcome(IntEnum):
    """What the client knows of a request."""

    OPEN = 0
    ACK = 1
    REJ = 2
    IND = 3


class RequestError(IntEnum):
    """Why a request has no answer."""

    NONE = 0
    REFUSED = 1
    NOT_CONNECTED = 2
    RESET = 3
    TIMED_OUT = 4
    CLOSED_EARLY = 5
    SHED = 6
    OTHER = 7
    OVERDUE = 8  # shed as well: it could not be sent in time
    CONNECT_TIMED_OUT = 9  # the server took no connection in time, and did not refuse it: nothing was sent
    OWN_LIMIT = 10  # the generator had no descriptor, no local port or no memory for a connection: nothing was sent


class TaskKind(IntEnum):
    """How a task function runs."""

    DEF = 1
    ASYNC = 2
    SPAWNED = 3  # by the application itself, with asyncio, inside a request


class DropReason(IntEnum):
    """Why a task will not be run (to its end) by this boot."""

    NONE = 0
    SKIPPED = 1
    REJECTED = 2
    DISCARDED = 3
    ABANDONED = 4
    CANCELLED = 5  # by the app itself; with an instant of failure if it was running


REQUEST = np.dtype(
    [
        ("op", "<u8"),
        ("status", "<u2"),
        ("outcome", "u1"),
        ("error", "u1"),
        ("attempt", "u1"),
        ("route", "u1"),
        ("pad", "<u2"),
        ("due_ns", "<u8"),
        ("sent_ns", "<u8"),
        ("done_ns", "<u8"),
        ("size_bytes", "<u8"),
        ("spare", "<u8", (2,)),
    ]
)

TASK = np.dtype(
    [
        ("op", "<u8"),
        ("index", "<u2"),
        ("func", "<u2"),
        ("kind", "u1"),
        ("attempt", "u1"),
        ("reason", "u1"),
        ("flags", "u1"),
        ("accepted_ns", "<u8"),
        ("flushed_ns", "<u8"),
        ("started_ns", "<u8"),
        ("finished_ns", "<u8"),
        ("failed_ns", "<u8"),
        ("dropped_ns", "<u8"),
    ]
)

EFFECT = np.dtype(
    [
        ("op", "<u8"),
        ("index", "<u2"),
        ("kind", "<u2"),
        ("pad", "<u4"),
        ("arrived_ns", "<u8"),
        ("value", "<u8"),
        ("spare", "<u8", (4,)),
    ]
)

GAUGE_SAMPLE = np.dtype(
    [
        ("t_ns", "<u8"),
        ("boot", "<u8"),
        ("pool_size", "<u8"),
        ("pool_busy", "<u8"),
        ("pool_waiting", "<u8"),
        ("accepted", "<u8"),
        ("started", "<u8"),
        ("finished", "<u8"),
        ("failed", "<u8"),
        ("dropped", "<u8"),
        ("requests_in_flight", "<u8"),
        ("loop_lag_ns", "<u8"),
        ("server_cpu_ns", "<u8"),
        ("server_rss_bytes", "<u8"),
        ("load_cpu_ns", "<u8"),
        ("spare", "<u8"),
    ]
)

MACHINE_SAMPLE = np.dtype(
    [
        ("t_ns", "<u8"),
        ("busy_ns", "<u8"),
        ("idle_ns", "<u8"),
        ("steal_ns", "<u8"),
        ("own_ns", "<u8"),
        ("stalled_ns", "<u8"),
        ("runnable", "<u8"),
        ("cpus", "<u8"),
    ]
)

ROW_TYPES: Final[dict[Kind, np.dtype[np.void]]] = {
    Kind.REQUESTS: REQUEST,
    Kind.TASKS: TASK,
    Kind.EFFECTS: EFFECT,
    Kind.GAUGES: GAUGE_SAMPLE,
    Kind.MACHINE: MACHINE_SAMPLE,
}
