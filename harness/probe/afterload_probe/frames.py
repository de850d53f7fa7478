"""Whose code a frame is: the application's, a package's, or Python's own."""

from __future__ import annotations

import os
from types import FrameType

__all__ = ["Place", "culprit", "is_application", "top_package"]

_STDLIB = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120  # compared with co_filename, which is text
_HERE = os.path.dirname(__file__) + os.sep  # noqa: PTH120
_INSTALLED = (os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep)
_PLUMBING = frozenset(
    {
        "anyio",
        "asgiref",
        "fastapi",
        "granian",
        "gunicorn",
        "hypercorn",
        "httptools",
        "starlette",
        "uvicorn",
        "uvicorn_worker",
        "uvloop",
    }
)
"""Never the application, also where an endpoint is theirs (static files, /docs)."""
_LOOP_FILES = tuple(os.path.join("asyncio", name) for name in ("base_events.py", "events.py", "runners.py"))  # noqa: PTH118

_PYTHON, _PACKAGE, _APPLICATION = range(3)
_layers: dict[str, int] = {}


class Place:
    """Where code is: a function, its file, and a line in it."""

    def __init__(self, frame: FrameType) -> None:
        code = frame.f_code
        self.function: str = getattr(code, "co_qualname", code.co_name)  # 3.10 has none
        self.file = code.co_filename
        self.line = frame.f_lineno

    @property
    def key(self) -> tuple[str, str]:
        """The function, whatever the line."""
        return self.function, self.file


def is_application(frame: FrameType | None, packages: set[str]) -> bool:
    """Whether the application is what asks asyncio for a task here. `packages`: also its own, wherever they are installed.

    What decides is the first frame that is neither Python's nor anyio's: `create_task`, `ensure_future`, `gather`, `TaskGroup`
    and `start_soon` are ways of asking. Starlette's, the server's and a client library's own tasks are not the application's.
    """
    while frame is not None:
        code = frame.f_code
        layer = _layer(code.co_filename)
        if layer == _APPLICATION:
            return True
        if layer == _PACKAGE:
            package = top_package(frame.f_globals.get("__name__"))
            if package != "anyio":
                return package in packages and package not in _PLUMBING
        elif code.co_filename.endswith(_LOOP_FILES) and code.co_name != "create_task":
            return False  # the loop itself: nobody asked from further out
        elif code.co_name == "callback" and code.co_filename.endswith("tasks.py"):
            return True  # asyncio.run_coroutine_threadsafe; who called it was another thread, in this request's context
        frame = frame.f_back
    return False


def culprit(frame: FrameType | None, runner: FrameType | None, packages: set[str]) -> tuple[Place, Place] | None:
    """What a loop's thread is busy with: the innermost function of the application, and what that is in the middle of.

    None: with nothing, it waits for events. `runner`: the frame that runs the loop.
    """
    innermost = application = package = None
    while frame is not None and frame is not runner:
        name = frame.f_code.co_filename
        layer = _layer(name)
        if layer == _PYTHON and name.endswith(_LOOP_FILES):
            break
        if name.startswith(_HERE):
            frame = frame.f_back
            continue
        top = top_package(frame.f_globals.get("__name__")) if layer == _PACKAGE else ""
        if innermost is None:
            innermost = frame
            if layer == _PYTHON and name.endswith("selectors.py"):
                return None
        if application is None and (layer == _APPLICATION or top in packages - _PLUMBING):
            application = frame
        if package is None and layer == _PACKAGE and top not in _PLUMBING:
            package = frame
        frame = frame.f_back
    chosen = application or package or innermost
    return None if chosen is None or innermost is None else (Place(chosen), Place(innermost))


def top_package(name: object) -> str:
    """The first part of a module's name."""
    return name.partition(".")[0] if isinstance(name, str) else ""


def _layer(filename: str) -> int:
    layer = _layers.get(filename)
    if layer is None:
        if any(part in filename for part in _INSTALLED):
            layer = _PACKAGE
        elif filename.startswith((_STDLIB, _HERE, "<frozen")):
            layer = _PYTHON
        else:
            layer = _APPLICATION
        _layers[filename] = layer
    return layer
