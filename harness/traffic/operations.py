"""Which operations of an OpenAPI document are meant: patterns such as `POST /orders` or `* /admin/*`. Pure."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Sequence

from harness.traffic.request import METHODS

__all__ = ["DESTRUCTIVE", "chosen", "operations_of", "parse_pattern"]

DESTRUCTIVE = ("DELETE",)
"""Methods that are left out unless asked for: nobody wants to find out in this way what their app deletes."""

_NOT_SENT = ("HEAD", "OPTIONS", "TRACE")  # they start no work, and frameworks answer them by themselves


def parse_pattern(text: str) -> tuple[str, str]:
    """Method and path of a pattern; `*` fits anything, `/orders` alone fits every method. Raises ValueError."""
    method, _, path = text.strip().rpartition(" ")
    method = method.strip().upper() or "*"
    if method != "*" and method not in METHODS:
        msg = f"{text!r} does not begin with a method ({', '.join(METHODS)}, or * for any)"
        raise ValueError(msg)
    if not path.startswith(("/", "*")):
        msg = f"{text!r} has no path: write it as in the schema, e.g., 'POST /orders/{{order_id}}', or with *, e.g., '* /orders*'"
        raise ValueError(msg)
    return method, path


def operations_of(document: dict[str, object]) -> list[tuple[str, str]]:
    """Methods and paths in an OpenAPI document, in its order."""
    paths = document.get("paths")
    found = []
    for path, item in paths.items() if isinstance(paths, dict) else ():
        if isinstance(item, dict):
            found += [(method.upper(), str(path)) for method in item if method.upper() in METHODS]
    return found


def chosen(operations: Sequence[tuple[str, str]], only: Iterable[str] = (), exclude: Iterable[str] = ()) -> list[tuple[str, str]]:
    """The operations that are meant. Raises ValueError for a pattern that fits none, and if nothing is left.

    Without `only`: all that may begin some work, that is, all but HEAD and OPTIONS; and none that deletes.
    """
    wanted, unwanted = [parse_pattern(text) for text in only], [parse_pattern(text) for text in exclude]
    for text, pattern in zip((*only, *exclude), (*wanted, *unwanted), strict=True):
        if not any(_fits(operation, pattern) for operation in operations):
            near = difflib.get_close_matches(text, [" ".join(each) for each in operations], n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {_listed(operations)}"
            msg = f"no operation of the schema is {text!r}{hint}"
            raise ValueError(msg)
    left = [operation for operation in operations if not any(_fits(operation, pattern) for pattern in unwanted)]
    if wanted:
        left = [operation for operation in left if any(_fits(operation, pattern) for pattern in wanted)]
    else:
        left = [operation for operation in left if operation[0] not in (*DESTRUCTIVE, *_NOT_SENT)]
    if not left:
        msg = f"no operation of the schema is left to send; it has {_listed(operations)}"
        if not wanted and any(method in DESTRUCTIVE for method, _ in operations):
            msg += "; those that delete are sent only if named, e.g., --only 'DELETE /orders/{order_id}'"
        raise ValueError(msg)
    return left


def _fits(operation: tuple[str, str], pattern: tuple[str, str]) -> bool:
    method, path = pattern
    # Of fnmatch only the star: brackets are rare in paths, and would surprise.
    return method in {"*", operation[0]} and fnmatch.fnmatchcase(operation[1], path.replace("[", "[[]"))


def _listed(operations: Sequence[tuple[str, str]]) -> str:
    shown = [" ".join(each) for each in operations[:12]]
    more = len(operations) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "") if shown else "none at all"
