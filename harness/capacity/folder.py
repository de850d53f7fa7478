"""The directory of a search: what is in it, and how the search is continued.

design.json         what was asked for: all that is needed to go on
stages.jsonl        a line for each stage that is over; with --vary, of each configuration in a folder of its own
stages/01-120       the run directories
capacity.json       the answer; also capacity.html and capacity.md
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from harness.capacity.design import Asking, Design
from harness.capacity.schema import Measured
from harness.errors import UsageError

__all__ = ["Folder"]

_BASE: Final = "capacities"
_DESIGN: Final = "design.json"
_STAGES: Final = "stages.jsonl"


class Folder:
    """Paths, and what is written to them. Two never go on with the same search: its directory is locked."""

    def __init__(self, path: Path, design: Design) -> None:
        self.path = path
        self.design = design
        self._lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"the search in {path} goes on: another afterload is at it") from None
        except OSError:
            # A file system without locks.
            pass

    @classmethod
    def new(cls, out: Path | None, design: Design) -> Folder:
        """Makes `out`, or `capacities/<title>-<date>-<time>`. Raises UsageError if it can't."""
        try:
            if out is not None:
                out.mkdir(parents=True, exist_ok=True)
                if any(out.iterdir()):
                    hint = f"to go on with a search that is in it, write --resume {out}"
                    raise UsageError(f"the directory {out} is not empty", hint)
            path = out or _made(Path(_BASE), f"{design.title}-{time.strftime('%m%d-%H%M%S')}")
            (path / _DESIGN).write_text(design.model_dump_json(indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            where = out or Path(_BASE).absolute()
            raise UsageError(f"cannot write the directory {where}: {error.strerror}", "name another one with --out DIR") from None
        return cls(path.resolve(), design)

    @classmethod
    def existing(cls, path: Path) -> Folder:
        """That of a search to go on with. Raises UsageError."""
        try:
            design = Design.model_validate_json((path / _DESIGN).read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"{path} is no directory of a search: {_DESIGN}: {error.strerror}", _WHERE) from None
        except ValidationError as error:
            raise UsageError(f"{path / _DESIGN} is damaged: {error.errors()[0]['msg']}", _WHERE) from None
        return cls(path.resolve(), design)

    def of(self, asking: Asking) -> Path:
        """Where the stages of a configuration are."""
        if not asking.label:
            return self.path
        place = self.design.configurations.index(asking) + 1
        return self.path / f"{place:02d}-{re.sub(r'[^A-Za-z0-9.=_-]+', '-', asking.label)[:60]}"

    def told(self, asking: Asking) -> Iterator[Measured]:
        """What was measured before. A last line that was cut off is passed over: that stage is done again.

        Raises UsageError for any other line that cannot be read: to go on would remove what follows it.
        """
        path = self.of(asking) / _STAGES
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return
        for number, line in enumerate(text[: text.rfind("\n") + 1].splitlines(), 1):
            try:
                yield Measured.model_validate_json(line)
            except ValidationError as error:
                raise UsageError(
                    f"{path} is damaged: line {number}: {error.errors()[0]['msg']}",
                    "remove it, and what is below it, to have those stages made again",
                ) from None

    def tell(self, asking: Asking, told: list[Measured]) -> None:
        """Writes down what has been measured, whole or not at all."""
        folder = self.of(asking)
        folder.mkdir(exist_ok=True)
        new = folder / f".{_STAGES}"
        new.write_text("".join(each.model_dump_json() + "\n" for each in told), encoding="utf-8")
        new.replace(folder / _STAGES)


_WHERE: Final = f"searches are below {_BASE}/"


def _made(base: Path, name: str) -> Path:
    base.mkdir(exist_ok=True)
    for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
        path = base / f"{name}{suffix}"
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            break
    return path
