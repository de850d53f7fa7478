"""Lines of text with meanings: what the text panels show. Pure values; which colour a meaning has is the panel's business."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from harness.wording import lines_of

__all__ = ["SYMBOLS", "VERDICTS", "Line", "Role", "Run", "cut", "justified", "line", "plain", "width_of", "wrapped"]

Role = Literal["", "title", "muted", "good", "warn", "bad", "response", "done", "key", "chosen"]
Run = tuple[str, Role]
Line = tuple[Run, ...]

SYMBOLS: Final[dict[str, Run]] = {"critical": ("✖", "bad"), "warning": ("▲", "warn"), "info": ("·", "muted")}
"""Of a finding's severity."""
VERDICTS: Final[dict[str, Run]] = {
    "PASS": ("✔ PASS", "good"),
    "FAIL": ("✖ FAIL", "bad"),
    "INCONCLUSIVE": ("▲ INCONCLUSIVE", "warn"),
}


def line(*runs: str | Run) -> Line:
    """Of plain text and of text with a meaning."""
    return tuple((run, "") if isinstance(run, str) else run for run in runs)


def plain(one: Line) -> str:
    """Without meanings."""
    return "".join(text for text, _ in one)


def width_of(one: Line) -> int:
    """In columns."""
    return sum(len(text) for text, _ in one)


def cut(one: Line, width: int) -> Line:
    """At most so many columns of it; the last one shows that something is missing."""
    if width_of(one) <= width:
        return one
    found: list[Run] = []
    left = max(width - 1, 0)
    for text, role in one:
        if len(text) >= left:
            found.append((text[:left] + ("…" if width > 0 else ""), role))
            return tuple(found)
        found.append((text, role))
        left -= len(text)
    return tuple(found)


def justified(left: Line, right: Line, width: int) -> Line:
    """One at each end. Where there is no room for both, the left one is cut."""
    room = width - width_of(right)
    if room <= 1:
        return cut(left, width)
    left = cut(left, room - 1)
    return (*left, (" " * (room - width_of(left)), ""), *right)


def wrapped(symbol: Run, text: str, width: int, role: Role = "", most: int = 4) -> Sequence[Line]:
    """A sentence behind a symbol, in at most so many lines."""
    indent = len(symbol[0]) + 1
    pieces = lines_of(text, max(width - indent, 8)) or [""]
    if len(pieces) > most:
        pieces = [*pieces[: most - 1], f"{pieces[most - 1]}…"]
    return [
        cut(((symbol[0] + " ", symbol[1]), (piece, role)) if not number else ((" " * indent, ""), (piece, role)), width)
        for number, piece in enumerate(pieces)
    ]
