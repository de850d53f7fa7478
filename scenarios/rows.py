"""Reading the rows of a run, for checks: what the client, the server and the world wrote down (docs/rows.md)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Rows"]

# numpy is imported where it is needed: the server under test imports this module too, and must not start later for it.

_HEADER_BYTES: Final = 16_384
_CLAIMED: Final = slice(56, 64)
_NAMES_USED: Final = slice(80, 88)
_NAMES_OFFSET: Final = 4096
_NAME_BYTES: Final = 64

_FIELDS: Final[dict[str, list[tuple[Any, ...]]]] = {
    "requests": [
        *(
            ("op", "<u8"),
            ("status", "<u2"),
            ("outcome", "u1"),
            ("error", "u1"),
            ("attempt", "u1"),
            ("route", "u1"),
            ("pad", "<u2"),
        ),
        *(("due_ns", "<u8"), ("sent_ns", "<u8"), ("done_ns", "<u8"), ("size_bytes", "<u8"), ("spare", "<u8", 2)),
    ],
    "tasks": [
        *(("op", "<u8"), ("index", "<u2"), ("func", "<u2"), ("kind", "u1"), ("attempt", "u1"), ("reason", "u1"), ("flags", "u1")),
        *((f"{name}_ns", "<u8") for name in ("accepted", "flushed", "started", "finished", "failed", "dropped")),
    ],
    "effects": [
        *(("op", "<u8"), ("index", "<u2"), ("kind", "<u2"), ("pad", "<u4"), ("arrived_ns", "<u8"), ("value", "<u8")),
        ("spare", "<u8", 4),
    ],
    "gauges": [
        *((name, "<u8") for name in ("t_ns", "boot", "pool_size", "pool_busy", "pool_waiting", "accepted", "started")),
        *((name, "<u8") for name in ("finished", "failed", "dropped", "requests_in_flight", "loop_lag_ns", "server_cpu_ns")),
        *((name, "<u8") for name in ("server_rss_bytes", "load_cpu_ns", "spare")),
    ],
}


class Rows:
    """The row files of a run directory. Each table is a structured array with the fields of docs/rows.md; times in ns."""

    def __init__(self, run: Path) -> None:
        self._run = run

    @property
    def requests(self) -> NDArray[Any]:
        """One row for each request that was sent. `outcome`: 1 acknowledged, 2 refused, 3 nobody knows."""
        return self._table("requests")

    @property
    def tasks(self) -> NDArray[Any]:
        """One row for each task that the server accepted, of all boots. An instant that is 0 has not happened."""
        return self._table("tasks")

    @property
    def effects(self) -> NDArray[Any]:
        """One row for each effect that the world saw."""
        return self._table("effects")

    @property
    def gauges(self) -> NDArray[Any]:
        """Samples of the server's gauges; empty if there are none."""
        return self._table("gauges")

    def requests_named(self, name: str) -> NDArray[Any]:
        """Those rows of `requests` whose template has this name."""
        return self._table("requests", name)

    def _table(self, kind: str, name: str | None = None) -> NDArray[Any]:
        import numpy as np

        files = sorted(self._run.glob("gauges.rows" if kind == "gauges" else f"{kind}-*.rows"))
        return np.concatenate([np.empty(0, np.dtype(_FIELDS[kind])), *(_read(path, kind, name) for path in files)])


def _read(path: Path, kind: str, name: str | None) -> NDArray[Any]:
    """The published rows of one file; of those, the ones of the route `name`."""
    import numpy as np

    row_type = np.dtype(_FIELDS[kind])
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        data = file.read(int.from_bytes(header[_CLAIMED], "little") * row_type.itemsize)
    rows = np.frombuffer(data[: len(data) // row_type.itemsize * row_type.itemsize], row_type)
    # A row whose first word is 0 was claimed and never published.
    published: NDArray[Any] = rows[rows[_FIELDS[kind][0][0]] != 0]
    if name is None:
        return published
    ids = [number for number in range(int.from_bytes(header[_NAMES_USED], "little")) if _name(header, number) == name]
    named: NDArray[Any] = published[np.isin(published["route"], ids)]
    return named


def _name(header: bytes, number: int) -> str:
    start = _NAMES_OFFSET + number * _NAME_BYTES
    return header[start : start + _NAME_BYTES].rstrip(b"\0").decode(errors="replace")
