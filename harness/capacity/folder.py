"""The directory of one search: what is in it, and where."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from pathlib import Path
from typing import Final

from harness.capacity.schema import Capacity
from harness.capacity.search import Options, Search
from harness.capacity.words import sentence
from harness.environment import describe_environment
from harness.errors import UsageError
from harness.plan import Plan

__all__ = ["PLAN", "Folder"]

PLAN: Final = "plan.toml"
_OPTIONS: Final = "search.json"


class Folder:
    """Paths of a search's files: plan.toml, search.json, stages.jsonl, capacity.json, and the runs below stages/."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def existing(cls, path: Path) -> tuple[Folder, Options]:
        """That of a search to go on with, and how that one searches. Raises UsageError."""
        try:
            options = Options(**json.loads((path / _OPTIONS).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            why = f"{error.strerror}" if isinstance(error, OSError) else f"it is damaged ({error})"
            raise UsageError(f"{path} is no directory of a search: {_OPTIONS}: {why}", "searches are below capacities/") from None
        return cls(path.resolve()), options

    @classmethod
    def new(cls, out: Path | None, plan: Plan, options: Options) -> Folder:
        """A new one, `out` or below capacities/. Raises UsageError."""
        try:
            path = out or cls._new(plan.title)
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise UsageError(f"the directory {path} is not empty", "--resume DIR goes on with a search")
            (path / PLAN).write_text(plan.to_toml(), encoding="utf-8")
            (path / _OPTIONS).write_text(json.dumps(dataclasses.asdict(options), indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"cannot write {out or Path('capacities')}: {error.strerror}", "name another one with --out DIR"
            ) from None
        return cls(path.resolve())

    @staticmethod
    def _new(title: str) -> Path:
        base = Path("capacities")
        base.mkdir(exist_ok=True)
        for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
            path = base / f"{title}-{time.strftime('%m%d-%H%M%S')}{suffix}"
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                break
        return path

    def write(self, plan: Plan, search: Search) -> Capacity:
        """What is known by now, as capacity.json."""
        answer = search.answer()
        found = Capacity(
            name=plan.title,
            plan=plan.model_dump(mode="json"),
            environment=describe_environment(Path(plan.cwd or ".")),
            answer=answer.model_copy(update={"text": sentence(answer)}),
            stages=tuple(search.told),
        )
        (self.path / "capacity.json").write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return found
