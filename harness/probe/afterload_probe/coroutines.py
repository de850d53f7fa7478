"""Functions that stand for coroutine functions of somebody else's."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["Call", "awaited", "coroutine_function", "marked_as_coroutine"]

Call = Callable[..., Any]


def coroutine_function(kind: type, name: str) -> Call:
    """That method. Raises TypeError if it is none: what is put in its place would not fit."""
    found: Call = getattr(kind, name)
    if not inspect.iscoroutinefunction(found):
        msg = f"{kind.__name__}.{name} is no `async def` any more"
        raise TypeError(msg)
    return found


def marked_as_coroutine(function: Call) -> Call:
    """For those who ask before they await."""
    if hasattr(inspect, "markcoroutinefunction"):  # 3.12
        inspect.markcoroutinefunction(function)
    else:
        function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]  # noqa: SLF001
    return function


def awaited(original: Call, function: Call) -> Call:
    """That function, whose result is to be awaited, in the place of a coroutine function: a coroutine less for each call.

    Who asks `inspect.iscoroutinefunction` before he awaits is told that it is one, as the original was.
    """
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(function)
    elif sys.version_info >= (3, 11):
        # The flag by which that one is told. Nothing else reads it: what makes a coroutine there is the code's first instruction.
        code = function.__code__
        function.__code__ = code.replace(co_flags=code.co_flags | inspect.CO_COROUTINE)
    else:
        plain = function

        async def function(*args: Any) -> Any:
            return await plain(*args)

    return functools.wraps(original)(function)
