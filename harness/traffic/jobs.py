"""From the plan to what each load process is told: secrets filled in, names told apart. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.plan import Plan
from harness.traffic.request import check_header
from harness.traffic.secret import Mask, refers, resolve

__all__ = ["load_job", "requested_templates", "resolved_headers", "without_secrets"]

_NAME_BYTES = 64  # of a name in a row file


def load_job(
    plan: Plan,
    templates: Sequence[Mapping[str, Any]],
    *,
    process: int,
    processes: int,
    address: tuple[str, int],
    run_tag: int,
    rows: Path,
    replay: str | None = None,
    ceiling_per_s: float | None = None,
) -> dict[str, Any]:
    """The job of load process `process` of `processes` (harness/load/job.py). `replay`: the times of the plan's file, packed.

    `ceiling_per_s`: what one such process can send at most, if that is known.
    """
    job: dict[str, Any] = {
        "process": process,
        "processes": processes,
        "host": address[0],
        "port": address[1],
        "duration_s": plan.for_s,
        "seed": plan.seed,
        "run_tag": run_tag,
        "rows": str(rows),
        "request_timeout_s": plan.request_timeout_s,
        "max_in_flight": plan.max_in_flight,
        "ceiling_per_s": ceiling_per_s,
    }
    if plan.is_closed:
        job |= {"users": plan.users, "spawn_rate_per_s": plan.spawn_rate, "think_s": plan.think_s or 0.0}
        job |= {"think_spread": plan.think_spread or "constant"}
    else:
        job |= {"arrivals": plan.arrivals, "send_within_s": plan.send_within_s, **_when(plan, replay)}
    if plan.locustfile is not None:
        return {**job, "locustfile": str(Path(plan.locustfile).absolute())}
    return {**job, "templates": list(templates)}


def _when(plan: Plan, replay: str | None) -> dict[str, Any]:
    if plan.replay is not None:
        return {"replay": replay}
    return {"rate_per_s": plan.rate} if plan.stages is None else {"stages": plan.stages}


def requested_templates(plan: Plan, environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """The plan's requests as templates. Raises ValueError if a header needs a variable that is not in the environment."""
    names = _told_apart([request.name for request in plan.requests])
    return [
        {
            "name": name,
            "method": request.method,
            "path": request.path,
            "headers": resolved_headers(request.name, request.sent_headers, environment),
            "body": request.body,
            "weight": request.weight,
        }
        for request, name in zip(plan.requests, names, strict=True)
    ]


def resolved_headers(name: str, headers: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Headers as they are sent by `name`. Raises ValueError."""
    try:
        resolved = {header: resolve(header, value, environment) for header, value in headers.items()}
        for header, value in resolved.items():
            check_header(header, value)
        return resolved
    except ValueError as error:
        msg = f"{name}: {error}"
        raise ValueError(msg) from None


def without_secrets(plan: Plan, templates: Iterable[Mapping[str, Any]], environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """The templates as they may leave this machine: what came from the environment, or is secret, is a reference again.

    Whoever gets them calls `resolved_headers` with an environment of their own.
    """
    mask = Mask()
    references: dict[tuple[str, str], str] = {}
    for headers in (*(request.sent_headers for request in plan.requests), plan.openapi_headers):
        sent = resolved_headers("", headers, environment)
        for header, value in mask.headers(headers).items():
            if refers(value):
                references[header, sent[header]] = value
    return [
        {
            **template,
            "headers": {
                header: references.get((header, value), value.replace("$", "$$"))
                for header, value in template.get("headers", {}).items()
            },
        }
        for template in templates
    ]


def _told_apart(names: Iterable[str]) -> list[str]:
    """Two requests of one method and path are two kinds, with other bodies: the second one is called ... #2."""
    seen: dict[str, int] = {}
    told: list[str] = []
    for name in names:
        seen[name] = number = seen.get(name, 0) + 1
        mark = f" #{number}" if number > 1 else ""
        told.append(name.encode()[: _NAME_BYTES - len(mark)].decode(errors="ignore") + mark)
    return told
