"""Addresses as they are written: HOST:PORT. Pure."""

from __future__ import annotations

import re

__all__ = ["split_address"]

_MOST = 65_535


def split_address(text: str, where: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT` or `[HOST]:PORT`. Raises ValueError; `where` says where it was given."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^:\s\[\]]+)):(\d{1,5})", text)
    if match is None or int(match[3]) > _MOST:
        msg = f"{where} is {text!r}, which is no address; write HOST:PORT, e.g., 10.0.0.1:5557, or [2001:db8::1]:5557"
        raise ValueError(msg)
    return match[1] or match[2], int(match[3])
