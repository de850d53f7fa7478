"""The bundled server."""

from __future__ import annotations

import sys

from harness.engines.engine import MODULE, Engine, Start
from harness.plan import Plan

__all__ = ["bundled"]


def bundled(plan: Plan) -> Engine:
    """`python -m server`, told everything by options."""

    def command(start: Start) -> list[str]:
        options = {
            "host": start.host,
            "port": start.port,
            "workers": plan.workers,
            "pool": start.pool or plan.pool,
            "drain": plan.drain_s,
            "order": plan.order,
            "on-error": plan.on_error,
            "rows": start.rows,
            "boot": start.boot,
            "label": f"{plan.scenario} {plan.tasks}",
        }
        if plan.queue_limit is not None:
            options["queue-limit"] = plan.queue_limit
        given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        return [sys.executable, *MODULE, "server", "scenarios.entry:bundled", "--factory", "--app-dir", "", *given]

    return Engine(
        name="rust",
        command=command,
        env=lambda start: {"AFTERLOAD_SCENARIO": start.scenario},
        drain_s=plan.drain_s,
        ready_by="page",
        processes=plan.workers or 1,
        ready_s=plan.ready_s,
        keeps_deadline=True,
    )
