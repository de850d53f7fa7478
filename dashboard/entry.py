"""The console script. Until everything is imported, a Ctrl-C ends it without a word and without a traceback."""

from __future__ import annotations

import signal

__all__ = ["main"]


def main() -> None:
    """Runs the command line."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from dashboard.commandline import main as command_line  # the point of this module

    signal.signal(signal.SIGINT, before)
    command_line(prog_name="afterload")
