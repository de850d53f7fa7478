"""Requests as they are written on the command line and in plans, and the templates that the load processes fill. Pure."""

from __future__ import annotations

from typing import Any

from harness.errors import UsageError
from harness.plan import Plan

__all__ = ["parse_request", "templates_of"]


def parse_request(text: str) -> dict[str, Any]:
    """Reads `POST /orders`, or `/orders` for a GET. Raises UsageError saying how to write one."""
    parts = text.split()
    method, path = ("GET", parts[0]) if len(parts) == 1 else (parts[0].upper(), parts[1]) if len(parts) == 2 else ("", "")
    if not method.isalpha() or not path.startswith("/"):
        raise UsageError(f"--request {text!r} is no request", "write it as METHOD /path, e.g., --request 'POST /orders'")
    return {"method": method, "path": path}


def templates_of(plan: Plan) -> list[dict[str, Any]]:
    """The requests of the plan as templates for the load processes (harness/load/job.py)."""
    return [{"name": f"{request.method} {request.path}"[:64], **request.model_dump(mode="json")} for request in plan.requests]
