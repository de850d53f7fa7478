"""From the plan to what the load process sends: secrets filled in, names told apart, weights shared out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.traffic.request import RequestPlan
from harness.traffic.secret import resolve

__all__ = ["job_templates"]

_NAME_BYTES = 64


def job_templates(requests: Sequence[RequestPlan], environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """The templates of a load job. Raises ValueError if a header needs a variable that is not in the environment."""
    names = _told_apart([request.name for request in requests])
    return [
        {
            "name": name,
            "method": request.method,
            "path": request.path,
            "headers": resolved_headers(request.name, request.sent_headers, environment),
            "body": request.body,
            "weight": request.weight,
        }
        for request, name in zip(requests, names, strict=True)
    ]


def resolved_headers(name: str, headers: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Headers as they are sent. Raises ValueError."""
    try:
        return {header: resolve(header, value, environment) for header, value in headers.items()}
    except ValueError as error:
        msg = f"{name}: {error}"
        raise ValueError(msg) from None


def _told_apart(names: Iterable[str]) -> list[str]:
    """Two requests of one method and path with other bodies are two kinds: the second one is called ... #2."""
    seen: dict[str, int] = {}
    told: list[str] = []
    for name in names:
        seen[name] = number = seen.get(name, 0) + 1
        mark = f" #{number}" if number > 1 else ""
        told.append(name.encode()[: _NAME_BYTES - len(mark)].decode(errors="ignore") + mark)
    return told
