"""The probe of afterload: writes down what becomes of the background tasks of a Starlette or FastAPI app, inside its process.

Standard library only, CPython 3.10 and newer; nothing of afterload is imported. Without AFTERLOAD_PROBE_ROWS in the environment
it does nothing. This file is imported into every Python process that the server starts, so it imports next to nothing itself: the
rest comes when Starlette is imported. docs/probe.md says what is hooked, and what is written.
"""

__all__ = ["begin"]

_has_begun = False


def begin() -> None:
    """Watches for Starlette, if the environment says where to write. Later calls do nothing."""
    global _has_begun
    import os

    if _has_begun or not os.environ.get("AFTERLOAD_PROBE_ROWS"):
        return
    _has_begun = True
    from .imports import watch

    watch()
