"""How each kind of server is started."""

from harness.engines.bundled import bundled
from harness.engines.engine import MODULE, Engine, Start

__all__ = ["MODULE", "Engine", "Start", "bundled"]
