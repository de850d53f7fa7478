"""What is said about background tasks that went wrong, in the log `server.tasks`."""

from __future__ import annotations

import functools
import logging
import traceback
from collections.abc import Callable
from types import AsyncGeneratorType, CodeType, CoroutineType, GeneratorType
from typing import Any, Final

__all__ = ["TaskTimedOut", "task_failed", "task_never_ran", "task_overdue"]

_log = logging.getLogger("server.tasks")

_UNTAGGED: Final = 1 << 63
_MOST_WARNED: Final = 4096
_warned: set[CodeType] = set()


class TaskTimedOut(TimeoutError):
    """An `async def` task that had run as long as it may was cancelled. Its message says what became of the cancellation."""


def task_failed(func: Callable[..., Any], error: BaseException) -> None:
    """Logs what a background task raised, with its traceback; of one that timed out, where it was when it was cancelled."""
    if isinstance(error, TaskTimedOut):
        _log.error("background task %s timed out: %s", _name(func), error, exc_info=error.__cause__)
        return
    # The error's words are the user's code, and may raise too.
    words = "".join(traceback.TracebackException(type(error), error, None).format_exception_only()).strip().partition(": ")[2]
    _log.error("background task %s raised %s: %s", _name(func), type(error).__name__, words, exc_info=error)


def task_never_ran(
    func: Callable[..., Any], result: GeneratorType[Any, Any, Any] | CoroutineType[Any, Any, Any] | AsyncGeneratorType[Any, Any]
) -> None:
    """Warns, once for each function, of a task that returned something which had to be run to have any effect."""
    if isinstance(result, CoroutineType):
        kind, code, remedy = "a coroutine that nobody awaits", result.cr_code, "add the async function itself, with its arguments"
    elif isinstance(result, GeneratorType):
        kind, code, remedy = "a generator that nobody runs", result.gi_code, "add a function without `yield`"
    else:
        kind, code, remedy = "an async generator that nobody runs", result.ag_code, "add an async function without `yield`"
    if code in _warned or len(_warned) >= _MOST_WARNED:
        return
    _warned.add(code)
    _log.warning("background task %s did nothing: it returned %s; %s (said once for each function)", _name(func), kind, remedy)


def task_overdue(func: Callable[..., Any], op: int, is_async: bool, age_s: float) -> None:
    """Warns of a running task that has passed its time limit and cannot be ended."""
    operation = "" if op & _UNTAGGED else f" of operation {op:016x}"
    reason = "it blocks the event loop or swallows its cancellation" if is_async else "a thread cannot be ended"
    _log.warning("background task %s%s is overdue: it has run for %.1f s and goes on; %s", _name(func), operation, age_s, reason)


def _name(func: Callable[..., Any]) -> str:
    # Not its repr, which is the user's code and may raise too.
    while isinstance(func, functools.partial):
        func = func.func
    return str(getattr(func, "__qualname__", None) or type(func).__qualname__).rpartition("<locals>.")[2]
