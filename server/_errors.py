"""What can go wrong with serving, whatever the app."""

__all__ = ["CannotServe"]


class CannotServe(Exception):
    """The port or the row file cannot be had, or the program cannot be run again for its workers."""
