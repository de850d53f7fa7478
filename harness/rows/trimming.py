"""What a finished row file takes on the disk: its rows, not the room that its writer had taken ahead of them."""

from __future__ import annotations

import os
from pathlib import Path

from harness.rows.layout import HEADER_BYTES, ROW_TYPES
from harness.rows.reader import RowFileError, read_rows

__all__ = ["trim"]


def trim(path: Path) -> int:
    """Cuts off what no row was ever claimed for, and returns how many bytes that were. Raises RowFileError or OSError.

    Only for a file whose writer is gone: a mapping of the part that is cut off would be a crash to whoever looks at it.
    Readers never do, since they map what is claimed.
    """
    found = read_rows(path)
    if found.missing:
        msg = f"{path} is {found.missing} rows too short: it is left as it is"
        raise RowFileError(msg)
    needed = HEADER_BYTES + found.claimed * ROW_TYPES[found.kind].itemsize
    spare = path.stat().st_size - needed
    if spare > 0:
        os.truncate(path, needed)
    return max(spare, 0)
