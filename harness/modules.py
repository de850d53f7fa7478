"""How a module of ours is run as a process of its own. By itself, so that whoever only asks a scenario imports no engine."""

from __future__ import annotations

from typing import Final

__all__ = ["MODULE"]

MODULE: Final = ("-P", "-m")
"""Python's options to run one of our modules: not from the working directory, where the user may have a `server.py` too."""
