"""Steering: what is asked of a run while it goes on, by whom it is done, and how it is known that it was done."""

from harness.control.commands import (
    TASK_KINDS,
    Command,
    FaultNow,
    Mark,
    SetLength,
    SetPool,
    SetRate,
    SetTasks,
    SetUsers,
    Stop,
    command_of,
    parse_command,
)
from harness.control.sending import Receipt, can_be_steered, send, wait_for

__all__ = [
    "TASK_KINDS",
    "Command",
    "FaultNow",
    "Mark",
    "Receipt",
    "SetLength",
    "SetPool",
    "SetRate",
    "SetTasks",
    "SetUsers",
    "Stop",
    "can_be_steered",
    "command_of",
    "parse_command",
    "send",
    "wait_for",
]
