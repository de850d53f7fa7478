"""A folder that is looked at from outside: which files have appeared whole, and what is left half-written when all has ended."""

from __future__ import annotations

import asyncio
import bz2
import hashlib
import os
import time
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Final

from scenarios.rows import Rows
from scenarios.scenario import Check, Figure
from scenarios.settings import Settings
from scenarios.wording import counted
from server import EffectRows

__all__ = ["DiskWorld", "check_disk", "start_disk"]

_LOOK_S: Final = 0.05
_BUSY_SHARE: Final = 0.05  # of one core, at most: a folder of a million entries takes long to look at
_MOST_VERIFIED: Final = 1000
_N_EXAMPLES: Final = 3


class DiskWorld:
    """Writes a row for each folder that has appeared in `done`, named by its operation, with the bytes in it as the value.

    It looks again and again instead of being told: what the kernel tells can overflow, and the last look, when the server has
    ended, misses nothing. So a row's time may be later than the file's by one look.
    """

    def __init__(self, folder: Path, rows: EffectRows) -> None:
        self._folder = folder
        self._rows = rows
        self._seen: set[str] = set()
        for name in ("incoming", "done"):
            (folder / name).mkdir(parents=True)
        self._watch = asyncio.create_task(self._look_again_and_again())

    def addresses(self) -> dict[str, str]:
        """The two folders, absolute."""
        return {name: str((self._folder / name).resolve()) for name in ("incoming", "done")}

    async def close(self) -> None:
        """Looks for the last time."""
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)
        self._look()

    async def _look_again_and_again(self) -> None:
        while True:
            began = time.perf_counter()
            self._look()
            await asyncio.sleep(max(_LOOK_S, (time.perf_counter() - began) / _BUSY_SHARE))

    def _look(self) -> None:
        with os.scandir(self._folder / "done") as entries:
            for entry in entries:
                if entry.name in self._seen or entry.name.startswith("."):
                    continue
                self._seen.add(entry.name)
                op = operation_of(entry.name)
                if op is not None:
                    self._rows.append(op, value=sum(each.stat().st_size for each in Path(entry.path).iterdir()))


async def start_disk(rows: EffectRows, settings: Settings, folder: Path) -> DiskWorld:
    """Makes the folders and begins to look. Raises FileExistsError if they are there: nobody's files are taken for ours."""
    return DiskWorld(folder, rows)


def operation_of(name: str) -> int | None:
    """The operation id in a file's name; None if it has none."""
    digits = name.lstrip(".").partition(".")[0]
    try:
        return int(digits, 16) if len(digits) == 16 else None
    except ValueError:
        return None


def check_disk(rows: Rows, folder: Path, sent: Set[str]) -> Check:
    """Compares the folder, as it is when everything has ended, with the rows and with the checksums of what was `sent`."""
    tasks = rows.tasks
    running = (tasks["started_ns"] > 0) & (tasks["finished_ns"] == 0) & (tasks["failed_ns"] == 0)
    interrupted = {int(op) for op in tasks["op"][running]}
    failed = {int(op) for op in tasks["op"][tasks["failed_ns"] > 0]}
    is_inline = not len(tasks)

    whole = [path for path in _entries(folder / "done") if not path.name.startswith(".")]
    half_outputs = [path for path in _entries(folder / "done") if path.name.startswith(".")]
    waiting = [path for path in _entries(folder / "incoming") if not path.name.startswith(".")]
    stored = {path.name for path in waiting}
    parts = [path for path in _entries(folder / "incoming") if path.name.startswith(".")]
    half_uploads = [path for path in parts if path.name[1:].removesuffix(".part") not in stored]
    n_failed = sum(operation_of(path.name) in failed for path in waiting)
    # A file whose output is there was processed by a task that was killed before it could remove it.
    finished = {path.name for path in whole}
    unprocessed = [path for path in waiting if path.stem not in finished and operation_of(path.name) not in failed]

    problems = []
    if not is_inline:
        not_interrupted = [path for path in half_outputs if operation_of(path.name) not in interrupted]
        problems += _named(not_interrupted, "half-written outputs of tasks that nobody interrupted")
    strangers = [path for path in _entries(folder) if path.name not in {"incoming", "done"}]
    strangers += [path for path in (*whole, *waiting, *half_outputs, *parts) if operation_of(path.name) is None]
    problems += _named(strangers, "files with names that are not the app's")
    seen = {int(op) for op in rows.effects["op"]}
    problems += _named([path for path in whole if operation_of(path.name) not in seen], "outputs that the watcher did not see")
    every = max(len(whole) / _MOST_VERIFIED, 1.0)
    verified = [whole[int(n * every)] for n in range(min(len(whole), _MOST_VERIFIED))]
    problems += _named([path for path in verified if not _is_complete(path, sent)], "outputs that are not what was uploaded")
    return Check(
        figures=(
            Figure("half_written", len(half_outputs), "files", counted(len(half_outputs), "half-written output")),
            Figure("unprocessed", len(unprocessed), "files", counted(len(unprocessed), "upload", "stored and never processed")),
            Figure("failed", n_failed, "files", counted(n_failed, "upload", "whose processing failed")),
            Figure(
                "half_uploaded", len(half_uploads), "files", counted(len(half_uploads), "upload", "cut off while being stored")
            ),
            Figure("verified", len(verified), "files", f"{len(verified):,} of {len(whole):,} outputs unpacked and compared"),
        ),
        problems=tuple(problems),
    )


def _entries(folder: Path) -> Iterator[Path]:
    return iter(sorted(folder.iterdir())) if folder.is_dir() else iter(())


def _is_complete(output: Path, sent: Set[str]) -> bool:
    """Whether the compressed copy unpacks to something that was sent, and the preview is there."""
    try:
        with bz2.open(output / "copy.bz2") as copy:
            checksum = hashlib.file_digest(copy, "sha256").hexdigest()
        about = (output / "about.json").read_text(encoding="utf-8")
        preview = [path.stat().st_size for path in output.glob("preview.*")]
        return bool(checksum in sent and checksum in about and preview and all(preview))
    except (OSError, EOFError, ValueError):
        return False


def _named(paths: list[Path], what: str) -> list[str]:
    if not paths:
        return []
    return [f"{len(paths):,} {what} (e.g., {', '.join(path.name for path in paths[:_N_EXAMPLES])})"]
