"""Functions that stand for coroutine functions of somebody else's."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

__all__ = ["Call", "coroutine_function", "marked_as_coroutine", "stands_for"]

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


def stands_for(original: Call, compiled: Call) -> Call:
    """`compiled`, which gives what is to be awaited, in the place of a coroutine function: a coroutine less for each call.

    It looks like the original to those who ask what it is: its names, its signature, and that it is a coroutine function.
    """
    if sys.version_info < (3, 11) or not isinstance(original, FunctionType):
        # There nothing but a function in Python can be taken for one.
        async def function(*args: Any, **kwargs: Any) -> Any:
            return await compiled(*args, **kwargs)

        return functools.wraps(original)(function)
    for name in ("__code__", "__defaults__", "__kwdefaults__", "__annotations__"):
        setattr(compiled, name, getattr(original, name))
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(compiled)
    return functools.wraps(original)(compiled)
