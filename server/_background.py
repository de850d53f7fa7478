"""The task list that is injected into endpoints."""

from __future__ import annotations

from fastapi import BackgroundTasks as FastAPIBackgroundTasks

from server._native import TaskList

__all__ = ["BackgroundTasks"]


class BackgroundTasks(TaskList, FastAPIBackgroundTasks):
    """Collects calls that run after the response has been sent, one after another, in the order in which they were added.

    `add_task(func, *args, **kwargs)` takes a `def` function, which runs on a thread of the pool, or an `async def` function,
    which runs on the event loop. What it returns is dropped; what it raises is logged with its traceback, and the next task runs.
    """
