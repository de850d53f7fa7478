"""Runs a hook right after a module has been imported, whoever imports it, without changing how it is found or loaded."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["watch"]

_WATCHED = frozenset({"starlette.applications", "starlette.background", "starlette.middleware.base", "starlette.responses"})


def watch() -> None:
    """Begins to watch; what is imported already is hooked at once."""
    sys.meta_path.insert(0, _Watch())
    for name in _WATCHED:
        module = sys.modules.get(name)
        if module is not None:
            _was_imported(name, module)


class _Watch:
    """Finds nothing itself: asks the finders after it, and has the loader call back once it has executed the module."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in _WATCHED:
            return None
        for finder in sys.meta_path:
            find_spec = getattr(finder, "find_spec", None)
            if finder is self or find_spec is None:
                continue
            spec: ModuleSpec | None = find_spec(name, path, target)
            if spec is not None:
                self._listen(name, spec)
                return spec
        return None

    @staticmethod
    def _listen(name: str, spec: ModuleSpec) -> None:
        loader = spec.loader
        execute = getattr(loader, "exec_module", None)
        if loader is None or execute is None:
            _could_not(name, "its loader has no exec_module")
            return

        def exec_module(module: ModuleType) -> None:
            # Once, and then the loader is as it was: a module may be loaded again by the same one.
            vars(loader).pop("exec_module", None)
            execute(module)
            _was_imported(name, module)

        try:
            # The loader of a source or byte-code file is made for one module. So it stays what it is for all who ask for it.
            loader.exec_module = exec_module  # type: ignore[method-assign]
        except AttributeError as error:
            _could_not(name, f"its loader takes no hook ({error})")


def _was_imported(name: str, module: ModuleType) -> None:
    try:
        # Only now: most processes that a server starts never come here.
        from . import hooks

        hooks.install(name, module)
    except Exception as error:  # noqa: BLE001  # an import that works without the probe works with it
        _could_not(name, f"{type(error).__name__}: {error}")


def _could_not(name: str, why: str) -> None:
    try:
        from . import process

        process.unhooked(name, why)
    except Exception as error:  # noqa: BLE001  # as above
        print(f"afterload: the probe could not hook {name}: {why} ({error})", file=sys.stderr)  # noqa: T201
