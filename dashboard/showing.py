"""Shows a run on the terminal, or in plain lines where there is none, and says afterwards what became of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from dashboard.alertness import take_short_turns
from dashboard.ending import cleared, restored, tell_end
from dashboard.importing import undisturbed
from dashboard.offers import Offers
from dashboard.options import ScreenOptions, has_screen, is_in_browser
from dashboard.watching import Watching

__all__ = ["show"]


def show(options: ScreenOptions, *, watching: Watching | None = None, arguments: Sequence[str] | None = None) -> int:
    """Until somebody leaves it, or (plain) until the run is over. Returns the exit status.

    Without `watching` it starts a run with `arguments`, or lets somebody choose one.
    """
    if options.is_plain or not has_screen(sys.stdin, sys.stderr, os.environ):
        from dashboard.plain import show_plainly

        return show_plainly(options, watching, arguments)
    with restored(sys.stdin, os.environ):
        offers = None if options.read_only else Offers()
        if offers is not None and watching is None and arguments is None:
            # Somebody will choose: asked now, since it takes longer than importing the rest.
            offers.ask()
        if options.is_slow_line:
            os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
        else:
            # A key that comes right after a picture waits 8 ms for its own, and not 17. Pictures are no more for that.
            os.environ.setdefault("TEXTUAL_FPS", "120")
        with undisturbed():
            from dashboard.app import Dashboard

            app = Dashboard(options, watching=watching, offers=offers, arguments=arguments, handles_signals=True)
        take_short_turns()
        with cleared(sys.stderr, os.environ):
            app.run()
    if is_in_browser(os.environ):
        return app.return_code or 0
    status = tell_end(app.watching, app.child, ended_by=app.ended_by, screen_status=app.return_code or 0)
    if app.child is not None:
        app.child.close()
    return status
