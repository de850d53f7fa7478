"""One request on its way, from the row that says that it leaves to the one end that it has; and how a client is tapped for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from harness.load.recorder import Answer, RequestRecorder
from harness.rows import Outcome, RequestError

__all__ = ["Sending", "before", "mark", "marked", "wrap"]

_MARK = "_afterload_sending"


class Sending:
    """One request on its way, and the one end that it has."""

    __slots__ = ("_index", "_recorder", "_route", "is_being_read", "is_over", "status")

    def __init__(self, recorder: RequestRecorder, index: int, route: int) -> None:
        self._recorder, self._index, self._route = recorder, index, route
        self.status = 0
        self.is_over = False
        self.is_being_read = False

    def answered(self, size_bytes: int) -> None:
        """The whole answer was read."""
        self._end(Answer(Outcome.ACK if 200 <= self.status <= 299 else Outcome.REJ, status=self.status, size_bytes=size_bytes))

    def broken(self, outcome: Outcome, error: RequestError) -> None:
        """There will be no whole answer."""
        self._end(Answer(outcome, error, status=self.status))

    def left(self) -> None:
        """Whoever waited was stopped: the row stays open."""
        if not self.is_over:
            self.is_over = True
            self._recorder.left()

    def __del__(self) -> None:
        # The answer was dropped unread, by whatever way. Of the clients' own finalizers not one is always called.
        self.broken(Outcome.IND, RequestError.OTHER)

    def _end(self, answer: Answer) -> None:
        if not self.is_over:
            self.is_over = True
            self._recorder.ended(self._index, self._route, time.monotonic_ns(), answer)


def mark(response: Any, sending: Sending) -> None:
    """Says of which request a client's response object is the answer."""
    setattr(response, _MARK, sending)


def marked(response: Any) -> Sending | None:
    """The request whose answer this is, if it has not ended."""
    sending: Sending | None = getattr(response, _MARK, None)
    return None if sending is None or sending.is_over else sending


def wrap(owner: Any, name: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Puts a wrapper around a method of a class."""
    setattr(owner, name, wrapper(getattr(owner, name)))


def before(first: Callable[[Any], None]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A wrapper that calls `first` with the object, then the method."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            first(self)
            return original(self, *args, **kwargs)

        return method

    return wrapper
