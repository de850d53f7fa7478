"""Looks for findings in a process of its own: those of a run of very many rows take memory that a screen would not give back.

    python -m harness.live.finder DIR INSTANT

prints the findings of the run as it stood at the instant (ns of the monotonic clock), as a JSON list.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Final

from harness.schema import Finding

__all__ = ["Finder"]

_NICE: Final = 10
_CLOSE_S: Final = 5.0


class Finder:
    """Of one run directory; one process at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        self._at_ns = 0
        self._is_refused = False

    def ask(self, at_ns: int) -> None:
        """Of an instant, unless it is still at work on another one."""
        if self._child is not None or self._is_refused:
            return
        self._at_ns = at_ns
        command = [sys.executable, "-P", "-m", "harness.live.finder", str(self._folder), str(at_ns)]
        try:
            self._said = tempfile.TemporaryFile()  # noqa: SIM115 - until it has been read
            # In a session of its own: a Ctrl-C at the terminal is not for it.
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=self._said, stderr=subprocess.DEVNULL, start_new_session=True
            )
        except OSError:
            # No memory, no disk, or too many processes: `take` says that it could not be done.
            self._is_refused = True
            if self._said is not None:
                self._said.close()

    def take(self) -> tuple[int, tuple[Finding, ...] | None] | None:
        """The instant that was asked for and what was found, once; of that None: it could not be done. None: nothing yet."""
        if self._is_refused:
            self._is_refused = False
            return self._at_ns, None
        if self._child is None or self._child.poll() is None:
            return None
        assert self._said is not None
        is_well, self._child = self._child.returncode == 0, None
        with self._said as said:
            said.seek(0)
            text = said.read()
        return self._at_ns, tuple(Finding.model_validate(each) for each in json.loads(text)) if is_well else None

    def close(self) -> None:
        """Ends what is at work."""
        if self._child is None:
            return
        self._child.kill()
        self._child.wait(_CLOSE_S)
        self._child = None
        if self._said is not None:
            self._said.close()


def _main() -> None:
    from harness.live.history import History  # which knows this file

    # Whatever is measured on this machine comes first.
    os.nice(_NICE)
    folder, at_ns = sys.argv[1:]
    found = History(Path(folder)).found_at(int(at_ns))
    sys.stdout.write(json.dumps([each.model_dump(mode="json") for each in found]))


if __name__ == "__main__":
    _main()
