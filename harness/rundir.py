"""The directory of one run: what is in it, and where.

Everything that a verdict rests on is here, so a run can be judged again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import UsageError

__all__ = ["EventLog", "RunDir", "is_held", "new_directory"]


class RunDir:
    """Paths of a run's files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._claim: _Claim | None = None

    @classmethod
    def create(cls, scenario: str, out: Path | None) -> RunDir:
        """Makes `out`, or `runs/<scenario>-<date>-<time>` and raises UsageError if it can't."""
        try:
            if out is not None:
                out.mkdir(parents=True, exist_ok=True)
                if any(out.iterdir()):
                    raise UsageError(f"the run directory {out} is not empty: a run never overwrites another one's account")
                (out / "plan.toml").touch()
                return cls(out.resolve()).claimed()
            path = _new_directory(scenario)
        except OSError as error:
            where = out or Path("runs").absolute()
            raise UsageError(
                f"cannot write the run directory {where}: {error.strerror}", "name another one with --out DIR"
            ) from None
        return cls(path.resolve()).claimed()

    def claimed(self) -> RunDir:
        """Itself, marked as that of a run that goes on, for as long as this object or the process is there."""
        self._claim = _Claim(self.path)
        return self

    def make_latest(self) -> None:
        """Lets `latest`, beside it, point to this run, if it is one of a series."""
        if self.path.parent.name != "runs":
            return
        link = self.path.parent / f".latest-{os.getpid()}"
        with contextlib.suppress(OSError):
            link.symlink_to(self.path.name)
            link.replace(self.path.parent / "latest")

    @property
    def run_id(self) -> str:
        """Marks the run's processes. Unlike the directory's name it cannot come twice."""
        return f"{self.path.name}-{os.getpid()}-{self.path.stat().st_ino}"

    def requests(self, process: int) -> Path:
        """Rows of load process `process`."""
        return self.path / f"requests-{process}.rows"

    def tasks(self, boot: int) -> Path:
        """Rows of the server's boot; those of its processes are named after it: `tasks-1.rows`, `tasks-1-4711.rows`."""
        return self.path / f"tasks-{boot}.rows"

    def task_files(self, boot: int) -> list[Path]:
        """The row files of all processes of a boot that there are now."""
        one = self.tasks(boot)
        return [path for path in (one, *sorted(self.path.glob(f"{one.stem}-*.rows"))) if path.exists()]

    def effects(self) -> Path:
        """Rows of the world."""
        return self.path / "effects-1.rows"

    def gauges(self) -> Path:
        """Samples of the gauges."""
        return self.path / "gauges.rows"

    def machine(self) -> Path:
        """Samples of what else the machine did."""
        return self.path / "machine.rows"

    def log(self, name: str) -> Path:
        """Output of a child."""
        return self.path / f"{name}.log"

    @property
    def world(self) -> Path:
        """The world's own folder, for what must outlive it."""
        return self.path / "world"

    @property
    def bodies(self) -> Path:
        """Request bodies that are too big for JSON."""
        return self.path / "bodies"

    @property
    def check(self) -> Path:
        """What the scenario itself found at the end."""
        return self.path / "check.json"

    def note_problem(self, text: str) -> None:
        """Adds a problem of the run to its events, after the session has ended."""
        log = EventLog(self.events)
        log.write("problem", text=text)
        log.close()

    @property
    def events(self) -> Path:
        """What the session did and saw, one JSON object a line."""
        return self.path / "events.jsonl"

    @property
    def plan(self) -> Path:
        """The plan, as it can be run again."""
        return self.path / "plan.toml"

    @property
    def scenario(self) -> Path:
        """What the scenario said of itself."""
        return self.path / "scenario.json"

    @property
    def dropped(self) -> Path:
        """Is there, and says why, if the rows were removed: the run cannot be judged again."""
        return self.path / "rows-dropped.txt"

    @property
    def environment(self) -> Path:
        """Machine and versions."""
        return self.path / "environment.json"

    @property
    def report(self) -> Path:
        """The figures as a page for people."""
        return self.path / "report.html"

    @property
    def summary(self) -> Path:
        """The figures and the verdict."""
        return self.path / "summary.json"


def is_held(path: Path) -> bool:
    """Whether a session holds the directory. A shared lock, so that two who look do not take each other for one."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        # A file system without locks: nobody can tell.
        return True
    else:
        return False
    finally:
        os.close(fd)


def new_directory(scenario: str) -> Path:
    """A new empty directory `runs/<scenario>-<date>-<time>`. Raises UsageError if it can't be made."""
    try:
        return _new_directory(scenario)
    except OSError as error:
        raise UsageError(f"cannot write the run directory {Path('runs').absolute()}: {error.strerror}") from None


def _new_directory(scenario: str) -> Path:
    base = Path("runs")
    base.mkdir(exist_ok=True)
    for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
        path = base / f"{scenario}-{time.strftime('%m%d-%H%M%S')}{suffix}"
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            break
    return path


class _Claim:
    """A lock on a directory for as long as this object, or the process: whoever tidies up sees that its run goes on."""

    def __init__(self, path: Path) -> None:
        self._fd = -1
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        # On a file system without locks there is none: then nobody else can ask for one either.
        with contextlib.suppress(OSError):
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


class EventLog:
    """Appends events, each written at once: a crash of the session loses none."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self.error: OSError | None = None

    def write(self, event: str, **fields: Any) -> None:
        """One event, with the monotonic time. Raises nothing (a full disk must not keep a run from stopping): see `error`."""
        try:
            self._file.write(json.dumps({"t_ns": time.monotonic_ns(), "event": event, **fields}) + "\n")
        except OSError as error:
            self.error = self.error or error

    def close(self) -> None:
        """Closes the file."""
        try:
            self._file.close()
        except OSError as error:
            self.error = self.error or error

    @staticmethod
    def read(path: Path) -> Iterator[dict[str, Any]]:
        """All events, in order. A last line that a crash cut off is passed over; any other damage is a problem of the run."""
        with path.open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                try:
                    found = json.loads(line)
                except json.JSONDecodeError:
                    if not line.endswith("\n"):
                        continue
                    found = None
                is_event = isinstance(found, dict) and isinstance(found.get("event"), str)
                yield found if is_event else {"event": "problem", "text": f"events.jsonl: line {number} is damaged"}
