"""The talk with the session: lines of JSON in and out, over two descriptors. Knows no event loop: waiting is handed in."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

__all__ = ["SessionGoneError", "SessionTalk"]

READ_BYTES = 65_536
MAX_LINE_BYTES = 64 << 20  # a job with its bodies


class SessionGoneError(Exception):
    """The session does not read or write any more: it died, or it closed its end."""


class SessionTalk:
    """Reads and writes whole lines. One reader."""

    def __init__(self, input_fd: int, output_fd: int, wait_readable: Callable[[int], object]) -> None:
        """`wait_readable(fd)` returns once `fd` has bytes or has ended, and lets others run meanwhile."""
        self._input_fd = input_fd
        self._output_fd = output_fd
        self._wait_readable = wait_readable
        self._pending = b""

    def read_line(self) -> bytes:
        """The next line without its end. Raises SessionGoneError at the end of the input, also in the middle of a line."""
        while b"\n" not in self._pending:
            # Waited for before each read, which then can't block: no O_NONBLOCK, which a terminal would keep after us.
            self._wait_readable(self._input_fd)
            data = os.read(self._input_fd, READ_BYTES)
            if not data:
                msg = "stdin ended"
                raise SessionGoneError(msg)
            self._pending += data
            if len(self._pending) > MAX_LINE_BYTES:
                msg = f"a line of more than {MAX_LINE_BYTES} bytes"
                raise SessionGoneError(msg)
        line, self._pending = self._pending.split(b"\n", 1)
        return line

    def say(self, message: dict[str, object]) -> None:
        """Writes one line. Raises SessionGoneError if nobody reads."""
        data = json.dumps(message).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._output_fd, data) :]
        except BrokenPipeError as error:
            msg = "nobody reads stdout"
            raise SessionGoneError(msg) from error
