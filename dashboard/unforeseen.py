"""What goes wrong in a thread of the screen: told with its cause, whatever it was, and never the end of the screen.

What somebody can do something about is an error of ours, in a sentence. Anything else is a fault of this program, or of the
machine, and is told with the place where it happened.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from harness.errors import RunError

if TYPE_CHECKING:
    from textual.app import App

__all__ = ["attempt", "in_words"]

_LINES: Final = 12


def attempt(app: App[Any], title: str, work: Callable[[], object]) -> None:
    """Does the work, in a thread that is not the app's. What goes wrong is told on the screen."""
    try:
        work()
    except RunError as error:
        app.call_from_thread(app.notify, str(error), title=title, severity="error", markup=False)
    except Exception as error:  # noqa: BLE001 - it would end the screen, and whoever looks on would not know why
        app.call_from_thread(_show, app, title, error, traceback.format_exception(error))


def in_words(error: Exception) -> str:
    """In one line: an error of ours as it is, of anything else also what it is."""
    return str(error) if isinstance(error, RunError) else f"{type(error).__name__}: {error}".rstrip(": ")


def _show(app: App[Any], title: str, error: Exception, trace: list[str]) -> None:
    from dashboard.modals.error import ErrorModal

    lines = "".join(trace).splitlines()[-_LINES:]
    app.push_screen(ErrorModal(title, in_words(error), lines=lines, hint="The screen goes on, and so does the run."))
