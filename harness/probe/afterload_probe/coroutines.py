"""Functions that stand for coroutine functions of somebody else's."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["Call", "coroutine_function", "marked_as_coroutine"]

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
