"""The runs that there are: what each was and came to, which of them go on, and removing old ones.

A run directory is known by its events, which begin with the run. Nothing else is ever removed, nothing is reached through a link,
and a run that goes on is left alone: its session holds a lock on the directory (`RunDir`), which the kernel lets go when it ends.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import math
import os
import shutil
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.errors import UsageError

__all__ = ["RunEntry", "State", "list_runs", "make_latest", "remove", "size_on_disk", "to_remove"]

State = Literal["done", "going on", "unfinished", "damaged", "no run"]


@dataclass(frozen=True, slots=True)
class RunEntry:
    """One directory beside the others. Figures are None where the run has none."""

    path: Path
    state: State
    problem: str  # what is wrong with it, in words; empty: nothing
    title: str  # scenario, or the app in its command
    began_s: float  # Unix time
    size_bytes: int  # on the disk
    verdict: str | None = None
    broken_promises: int | None = None  # at most
    broken_promises_low: int | None = None
    response_p99_ms: float | None = None
    done_p95_ms: float | None = None
    rate_per_s: float | None = None  # offered
    configuration: str = ""  # engine, kind of tasks, pool, load, in words

    @property
    def name(self) -> str:
        """Of the directory."""
        return self.path.name

    @property
    def broken_in_words(self) -> str:
        """How many broken promises are proved: `3`; `0 to 80` where a witness is missing. Empty: the run was not judged."""
        if self.broken_promises is None:
            return ""
        low, high = self.broken_promises_low or 0, self.broken_promises
        return f"{high:,}" if low == high else f"{low:,} to {high:,}"

    def as_json(self) -> dict[str, Any]:
        """The same for `--json`."""
        began = datetime.datetime.fromtimestamp(self.began_s, datetime.UTC).isoformat(timespec="seconds")
        return {
            "name": self.name,
            "path": str(self.path),
            "state": self.state,
            "problem": self.problem,
            "title": self.title,
            "configuration": self.configuration,
            "began": began,
            "verdict": self.verdict,
            "broken_promises": self.broken_promises,
            "broken_promises_low": self.broken_promises_low,
            "response_p99_ms": self.response_p99_ms,
            "done_p95_ms": self.done_p95_ms,
            "rate_per_s": self.rate_per_s,
            "size_bytes": self.size_bytes,
        }


def list_runs(folder: Path) -> list[RunEntry]:
    """Everything in `folder` that is a directory, the newest first. Raises UsageError if there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            paths = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        raise UsageError(f"cannot read {folder}: {error.strerror}", "say with --in DIR where the runs are") from None
    return sorted((_entry(path) for path in paths), key=lambda each: (-each.began_s, each.name))


def to_remove(
    entries: Sequence[RunEntry], *, keep: int | None, older_s: float | None, larger_bytes: int | None, now_s: float | None = None
) -> list[RunEntry]:
    """Of entries in the order of `list_runs`, the runs beyond the newest `keep` that are older and larger: all that is given."""
    now = time.time() if now_s is None else now_s
    runs = [each for each in entries if each.state != "no run"]
    beyond = runs[keep or 0 :]
    return [
        each
        for each in beyond
        if each.state != "going on"
        and (older_s is None or now - each.began_s > older_s)
        and (larger_bytes is None or each.size_bytes > larger_bytes)
    ]


def remove(entry: RunEntry) -> None:
    """Removes a run. Raises UsageError, and removes nothing, if it is none, goes on, or is a link by now; OSError if it can't."""
    path = entry.path
    if path.is_symlink() or path.parent.is_symlink():
        raise UsageError(f"{path} is reached through a link: nothing is removed there", "name the folder itself with --in DIR")
    # Held until it is gone, so that no session can begin to judge it meanwhile.
    with _claimed(path) as is_free:
        if not is_free:
            raise UsageError(f"the run {path} goes on")
        if not _is_run(path):
            raise UsageError(f"{path} is no run directory")
        # Out of sight first: what a crash leaves is then no half of a run.
        hidden = path.with_name(f".removed-{path.name}-{os.getpid()}")
        path.rename(hidden)
        shutil.rmtree(hidden)


def make_latest(folder: Path) -> None:
    """Lets `latest` in `folder` point to the newest run that there is, if its own is gone."""
    link = folder / "latest"
    if not link.is_symlink() or link.exists():
        return
    newest = next((each for each in list_runs(folder) if each.state != "no run"), None)
    link.unlink(missing_ok=True)
    if newest is not None:
        with contextlib.suppress(FileExistsError):
            link.symlink_to(newest.name)


def _entry(path: Path) -> RunEntry:
    size, began = size_on_disk(path), path.stat(follow_symlinks=False).st_mtime
    if not _is_run(path):
        return RunEntry(path, "no run", "no events.jsonl that begins with a run", "", began, size)
    with contextlib.suppress(OSError):
        began = (path / "plan.toml").stat().st_mtime
    with _claimed(path) as is_free:
        if not is_free:
            plan = _plan(path)
            return RunEntry(path, "going on", "", _title_of(plan), began, size, configuration=_configuration(plan))
    try:
        summary = json.loads((path / "summary.json").read_bytes())
        return _judged(path, summary, began, size)
    except FileNotFoundError:
        problem = "its session was killed before it had judged the run: afterload report does"
        plan = _plan(path)
        return RunEntry(path, "unfinished", problem, _title_of(plan), began, size, configuration=_configuration(plan))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"summary.json cannot be read ({type(error).__name__}: {error})"
        return RunEntry(path, "damaged", problem, _title_of(_plan(path)), began, size)


def _judged(path: Path, summary: Mapping[str, Any], began_s: float, size_bytes: int) -> RunEntry:
    requests, tasks, plan = summary["requests"], summary["tasks"], summary["plan"]
    with contextlib.suppress(KeyError, ValueError, TypeError):
        began_s = datetime.datetime.fromisoformat(summary["environment"]["began"]).timestamp()
    return RunEntry(
        path=path,
        state="done",
        problem=f"interrupted by {summary['interrupted_by']}" if summary["interrupted_by"] else "",
        title=_title_of(plan),
        began_s=began_s,
        size_bytes=size_bytes,
        verdict=str(summary["verdict"]),
        broken_promises=int(tasks["broken_promises"]),
        broken_promises_low=int(tasks["broken_promises_low"]),
        response_p99_ms=_number(requests["response_ms"]["p99"]),
        done_p95_ms=_number(tasks["done_ms"]["p95"]),
        rate_per_s=_number(requests["offered_per_s"]),
        configuration=_configuration(plan),
    )


def _number(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _plan(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads((path / "plan.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _configuration(plan: Mapping[str, Any]) -> str:
    """What a run differs in from the others of its scenario: `uvicorn · async · pool 8 · 100/s`."""
    load = next(
        (f"{plan[name]:g}{unit}" for name, unit in (("rate", "/s"), ("users", " users")) if _is_number(plan.get(name))), ""
    )
    words = [
        str(plan.get("engine") or ""),
        str(plan.get("tasks") or ""),
        f"pool {plan['pool']}" if plan.get("pool") else "",
        f"{plan['workers']} workers" if (plan.get("workers") or 1) != 1 else "",
        load or ("stages" if plan.get("stages") else "replay" if plan.get("replay") else ""),
    ]
    return " · ".join(word for word in words if word)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))


def _title_of(plan: Mapping[str, Any]) -> str:
    scenario = plan.get("scenario")
    return str(scenario) if scenario else " ".join(map(str, plan.get("command", ())))


def _is_run(path: Path) -> bool:
    events = path / "events.jsonl"
    try:
        if path.is_symlink() or events.is_symlink():
            return False
        with events.open("rb") as file:
            first = json.loads(file.readline(1 << 20))
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and first.get("event") == "run" and "run_tag" in first


def size_on_disk(path: Path) -> int:
    """What it takes on the disk, links not followed. What disappears meanwhile takes nothing."""
    total, folders = 0, [path]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
    return total


@contextlib.contextmanager
def _claimed(path: Path) -> Iterator[bool]:
    """Whether nobody's session holds the directory; meanwhile it is held here."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)
