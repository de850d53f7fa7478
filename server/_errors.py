"""What can go wrong with serving, beside a route that cannot be served.

CannotServe        the port or the row file cannot be had, or the program cannot be run again for its workers
"""

__all__ = ["CannotServe"]


class CannotServe(Exception):
    """The port or the row file cannot be had, or the program cannot be run again for its workers."""
