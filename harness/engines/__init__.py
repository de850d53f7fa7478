"""How each kind of server is started."""

from harness.engines.bundled import bundled
from harness.engines.engine import Engine, Start

__all__ = ["Engine", "Start", "bundled"]
