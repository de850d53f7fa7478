"""Names of routes: told apart, few enough for a row file, none lost. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

__all__ = ["OTHER_NAMES", "RouteNames", "grouped_path"]

NAME_BYTES = 64
MOST_NAMES = 190  # a row file has room for 191 and the empty one; the last one is for all the others
OTHER_NAMES = "(other names)"
N_EXAMPLES = 3

_ID = re.compile(r"\d+|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{16,}")


def grouped_path(path: str) -> str:
    """The path without its query, and with {id} for each segment that is a number, a UUID or a long hexadecimal one."""
    segments = path.partition("?")[0].partition("#")[0].split("/")
    return "/".join("{id}" if _ID.fullmatch(segment) else segment for segment in segments)


class RouteNames:
    """The names in use. A name given by hand is kept as it is; a path without a name is grouped."""

    def __init__(self, enter: Callable[[str], int]) -> None:
        """`enter` gives the id of a name in the row file."""
        self._enter = enter
        self._ids: dict[tuple[str, str, bool], int] = {}
        self._names: dict[str, int] = {}
        self.others: set[str] = set()
        """Names that found no room, at most a few of them."""
        self.n_others = 0
        """Requests of somebody else's code that are filed under `OTHER_NAMES`."""

    def route(self, method: str, name: str | None, path: str) -> int:
        """The id of the name of a request."""
        key = (method, path if name is None else name, name is None)
        known = self._ids.get(key)
        if known is None:
            full = f"{method} {grouped_path(path) if name is None else name}"
            known = self.named(full)
            # Paths without a name may be endless; what they are grouped into is not.
            if len(self._ids) < 10_000:
                self._ids[key] = known
        if known == self._names.get(OTHER_NAMES):
            self.n_others += 1
        return known

    def named(self, full: str) -> int:
        """The id of a whole name, with its method; that of `OTHER_NAMES` if there is no room for it."""
        if full in self._names:
            return self._names[full]
        if len(self._names) >= MOST_NAMES:
            if len(self.others) < N_EXAMPLES:
                self.others.add(full)
            full = OTHER_NAMES
            if full in self._names:
                return self._names[full]
        self._names[full] = number = self._enter(_fitting(full))
        return number


def _fitting(name: str) -> str:
    """A name of at most 64 bytes; two long ones stay two."""
    encoded = name.encode()
    if len(encoded) <= NAME_BYTES:
        return name
    mark = "~" + hashlib.sha256(encoded).hexdigest()[:5]
    return encoded[: NAME_BYTES - len(mark)].decode(errors="ignore") + mark
