"""What the tracebacks in a log end with, counted: the errors that no client was told of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

__all__ = ["errors_in", "last_lines"]

MOST_BYTES: Final = 4 << 20
"""Of one log: whoever raises a million times says the same each time."""

REPEATED: Final = 3
"""A message that came so often is about the program. One that came once may be about somebody: then the error is named alone."""

_LONGEST: Final = 100
_BEGIN: Final = "Traceback (most recent call last):"
_CHAINED: Final = ("During handling of the above exception", "The above exception was the direct cause")
_ERROR: Final = re.compile(r"^([A-Za-z_][\w.]*)(?::\s*(.*))?$")


def errors_in(logs: Iterable[Path]) -> tuple[tuple[str, int], ...]:
    """`OperationalError: database is locked`, and how often; the most frequent first. An unreadable log has none."""
    errors: dict[str, Counter[str]] = {}
    for path in logs:
        try:
            with path.open("rb") as file:
                text = file.read(MOST_BYTES).decode("utf-8", "replace")
        except OSError:
            continue
        for kind, message in last_lines(text.splitlines()):
            errors.setdefault(kind, Counter())[message] += 1
    said: Counter[str] = Counter()
    for kind, messages in errors.items():
        (message, n), total = messages.most_common(1)[0], messages.total()
        said[f"{kind}: {message[:_LONGEST]}" if message and n >= max(REPEATED, total / 2) else kind] += total
    return tuple(said.most_common())


def last_lines(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(name of the error, message) of each traceback; of a chain, of its last one."""
    inside, found = False, None
    for line in lines:
        # Of a group, each line of the outermost traceback begins with a bar.
        bare = line.removeprefix("  | ").removeprefix("  + Exception Group ")
        if bare.endswith(_BEGIN):
            if found is not None:
                yield found
            inside, found = True, None
        elif inside and bare and not bare[0].isspace():
            match = _ERROR.match(bare)
            inside = False
            found = (match[1].rpartition(".")[2], match[2] or "") if match else None
        elif found is not None and bare.startswith(_CHAINED):
            found = None
    if found is not None:
        yield found
