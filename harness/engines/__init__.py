"""How each kind of server is started."""

from harness.engines.asgi import granian, uvicorn
from harness.engines.bundled import bundled
from harness.engines.command import command
from harness.engines.engine import MODULE, Engine, Start
from harness.plan import Plan

__all__ = ["MODULE", "Engine", "Start", "bundled", "command", "engine_of", "granian", "uvicorn"]


def engine_of(plan: Plan) -> Engine:
    """The engine that a plan names. Raises UsageError if it cannot be started at all."""
    return {"rust": bundled, "uvicorn": uvicorn, "granian": granian, "command": command}[plan.engine](plan)
