"""Numbers in words, as checks tell them."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, one: str, rest: str = "", *, many: str | None = None) -> str:
    """`1 job stuck`, `1,204 jobs stuck`: `one` is the noun, `rest` what follows it."""
    noun = one if number == 1 else many or f"{one}s"
    return f"{number:,} {noun} {rest}".rstrip()
