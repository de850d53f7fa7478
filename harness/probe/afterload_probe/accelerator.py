"""The compiled part of the probe, if this Python can load it: what every request and every task pays for, at less cost.

It is an extension in the stable ABI (server/probe, built by make), for CPython 3.10 and newer on the machine where it was built.
Wherever it cannot be loaded everything is done in Python, as it is with AFTERLOAD_PROBE_PURE in the environment: the same rows.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from mmap import mmap
from typing import Any

__all__ = ["address_of", "begin_hooks", "dress", "hooks", "module", "why_not"]

_REVISION = 3
"""What `_accelerator` must have as well: the two change together, and one of them may be an old file."""


def address_of(mapping: mmap) -> tuple[int, object]:
    """Where a mapping lies, and what keeps it there."""
    import ctypes

    first = ctypes.c_char.from_buffer(mapping)
    return ctypes.addressof(first), first


def _load() -> tuple[Any, str]:
    """The module; or None, and why."""
    if os.environ.get("AFTERLOAD_PROBE_PURE"):
        return None, "AFTERLOAD_PROBE_PURE is set"
    if sys.implementation.name != "cpython":
        return None, f"it is for CPython, this is {sys.implementation.name}"
    has_gil = getattr(sys, "_is_gil_enabled", None)
    if (has_gil is not None and not has_gil()) or hasattr(sys, "getobjects"):
        return None, "it is for ordinary builds of CPython"
    try:
        from . import _accelerator  # type: ignore[attr-defined]  # built by make

        if _accelerator.REVISION != _REVISION:
            return None, f"it is of revision {_accelerator.REVISION}, the probe of {_REVISION}: it has to be built anew"
        _try(_accelerator)
    except Exception as error:  # noqa: BLE001  # whatever it is: the probe works without it
        return None, f"{type(error).__name__}: {error}"
    return _accelerator, ""


def _try(found: Any) -> None:
    """A row and a number, in memory of our own. Raises if they are not where they should be."""
    mapping = mmap(-1, 16_384 + 64 * 16_384)
    address, _keep = address_of(mapping)
    sheet = found.Sheet(None, {}, address)
    sheet.add(address + 16_384)
    if (sheet.take(), sheet.next_request()) != (0, 1) or mapping[56] != 1 or mapping[256 + 11 * 8] != 1:
        msg = "what it writes is not where it should be"
        raise RuntimeError(msg)


module, why_not = _load()
hooks: Any = None
"""The hooks of this interpreter, once they have begun."""


def begin_hooks(**needs: Any) -> None:
    """Gives the compiled hooks what they need of Python."""
    global hooks
    hooks = module.Hooks(**needs)


def dress(compiled: Any, pure: type, attributes: dict[str, Any]) -> Any:
    """Gives a compiled class what else the one in Python has: its methods for what is unusual."""
    own = {name for kind in compiled.__mro__[:-1] for name in vars(kind)}
    for kind in pure.__mro__[:-1]:
        for name, value in vars(kind).items():
            if isinstance(value, Callable) and not name.startswith("__") and name not in own:  # type: ignore[arg-type]
                setattr(compiled, name, value)
    for name, value in attributes.items():
        setattr(compiled, name, value)
    return compiled
