"""Processes of a run: each in a session of its own, stopped as a whole, and ended by the kernel or the janitor if afterload dies."""

from harness.processes.child import Child, Exit
from harness.processes.group import alive, freeze, kill_all, snapshot, survivors
from harness.processes.janitor import Janitor

__all__ = ["Child", "Exit", "Janitor", "alive", "freeze", "kill_all", "snapshot", "survivors"]
