"""Processes of a run: each in a session of its own, stopped as a whole.

If afterload dies, the kernel (guard) and the janitor end them.
"""

from harness.processes.child import Child, Exit
from harness.processes.group import adopt_orphans, alive, freeze, is_stopped, kill_all, snapshot, survivors, thaw
from harness.processes.janitor import Janitor
from harness.processes.signals import Heard, only_if_asked_twice, told_to_end

__all__ = [
    "Child",
    "Exit",
    "Heard",
    "Janitor",
    "adopt_orphans",
    "alive",
    "freeze",
    "is_stopped",
    "kill_all",
    "only_if_asked_twice",
    "snapshot",
    "survivors",
    "thaw",
    "told_to_end",
]
