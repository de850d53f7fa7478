"""The directory of a comparison: what is in it, and how it is continued.

design.json       what was asked for: all that is needed to go on
runs.jsonl        a line for each run that is over, with its figures
block-01/1-…      the run directories, without their rows
comparison.json   the figures and what they come to; also comparison.html
comparison.log    what the runs said while they ran
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from harness.compare.record import Comparison, Design, RunRecord
from harness.errors import UsageError
from harness.rundir import RunDir

__all__ = ["ComparisonFolder"]

BASE: Final = "comparisons"
_ROWS: Final = ("*.rows", "*.hdr.jsonl")
_FOLDERS: Final = ("world", "bodies")


class ComparisonFolder:
    """Paths, and what is written to them. Nobody else continues a comparison that goes on: its directory is locked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1

    @classmethod
    def create(cls, title: str, out: Path | None, design: Design) -> ComparisonFolder:
        """Makes `out`, or `comparisons/<title>-<date>-<time>`. Raises UsageError if it can't."""
        try:
            if out is not None:
                out.mkdir(parents=True, exist_ok=True)
                if any(out.iterdir()):
                    raise UsageError(
                        f"the directory {out} is not empty", f"to go on with a comparison that is in it, write --resume {out}"
                    )
                path = out
            else:
                base = Path(BASE)
                base.mkdir(exist_ok=True)
                path = next(_made(base, f"{title}-{time.strftime('%m%d-%H%M%S')}"))
        except OSError as error:
            where = out or Path(BASE).absolute()
            raise UsageError(f"cannot write the directory {where}: {error.strerror}", "name another one with --out DIR") from None
        folder = cls(path.resolve())
        folder.claim()
        folder.write_design(design)
        return folder

    @classmethod
    def open(cls, path: Path) -> ComparisonFolder:
        """One that there is. Raises UsageError if it is none."""
        if not (path / "design.json").is_file():
            raise UsageError(f"{path} is no directory of a comparison: there is no design.json in it")
        return cls(path.resolve())

    def claim(self) -> None:
        """Keeps others from going on with it meanwhile. Raises UsageError if somebody does."""
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"the comparison {self.path} goes on: another afterload is at it") from None
        except OSError:
            # A file system without locks.
            return

    def make_latest(self) -> None:
        """Lets `latest`, beside it, point to this one, if it is one of a series."""
        if self.path.parent.name != BASE:
            return
        link = self.path.parent / f".latest-{os.getpid()}"
        with contextlib.suppress(OSError):
            link.symlink_to(self.path.name)
            link.replace(self.path.parent / "latest")

    @property
    def page(self) -> Path:
        """The comparison for people."""
        return self.path / "comparison.html"

    @property
    def log(self) -> Path:
        """What its runs said."""
        return self.path / "comparison.log"

    @property
    def record(self) -> Path:
        """The figures and what they come to."""
        return self.path / "comparison.json"

    def run_path(self, name: str) -> Path:
        """Where a run goes; what an interrupted one left there is removed."""
        path = self.path / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        return path

    def design(self) -> Design:
        """Raises UsageError if it cannot be read."""
        path = self.path / "design.json"
        try:
            return Design.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise UsageError(f"{path} cannot be read: {error}") from None

    def write_design(self, design: Design) -> None:
        """Whole or not at all."""
        self._write("design.json", design.model_dump_json(indent=1))

    def write(self, comparison: Comparison) -> None:
        """Whole or not at all."""
        self._write("comparison.json", comparison.model_dump_json(indent=1))

    def add(self, run: RunRecord) -> None:
        """A run that is over; on the disk when this returns."""
        with (self.path / "runs.jsonl").open("a+b") as file:
            # A line that a crash cut off must not swallow this one; its run is done again.
            written = os.pread(file.fileno(), file.tell(), 0)
            if not written.endswith(b"\n"):
                file.truncate(written.rfind(b"\n") + 1)
            file.write(run.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def runs(self) -> list[RunRecord]:
        """Those that are over, in the order in which they were. A last line that a crash cut off is passed over: its run is
        done again.

        Raises UsageError for any other line that cannot be read: to make its run again would remove what was measured.
        """
        path = self.path / "runs.jsonl"
        found: list[RunRecord] = []
        try:
            written = path.read_bytes()
        except FileNotFoundError:
            return found
        for number, line in enumerate(written[: written.rfind(b"\n") + 1].splitlines(), 1):
            try:
                found.append(RunRecord.model_validate_json(line))
            except ValidationError as error:
                what = error.errors()[0]
                where = ".".join(str(each) for each in what["loc"])
                raise UsageError(
                    f"{path} is damaged: line {number}: {f'{where}: ' if where else ''}{what['msg']}",
                    "remove the line to have its run made again",
                ) from None
        return found

    def drop_rows(self, rundir: RunDir) -> None:
        """Removes what only the figures were needed for, which is nearly all of a run's size, and says so in its place."""
        for pattern in _ROWS:
            for path in rundir.path.glob(pattern):
                path.unlink()
        for name in _FOLDERS:
            path = rundir.path / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
        rundir.dropped.write_text(
            "The rows of this run were removed when the comparison that it belongs to had taken its figures.\n"
            "Its summary and its report are complete. --keep-runs keeps the rows as well.\n",
            encoding="utf-8",
        )

    def environment(self) -> dict[str, object]:
        """Of the first run that has one."""
        for path in sorted(self.path.glob("block-*/*/environment.json")):
            with contextlib.suppress(OSError, ValueError):
                found: dict[str, object] = json.loads(path.read_bytes())
                return found
        return {}

    def _write(self, name: str, text: str) -> None:
        hidden = self.path / f".{name}-{os.getpid()}"
        hidden.write_text(text + "\n", encoding="utf-8")
        hidden.replace(self.path / name)


def _made(base: Path, name: str) -> Iterator[Path]:
    for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
        path = base / f"{name}{suffix}"
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            yield path
