"""Runs that were made before, read to be compared."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from harness.compare.pairing import Given
from harness.compare.record import Comparison
from harness.errors import UsageError
from harness.evidence import judged_run
from harness.rundir import RunDir
from harness.schema import Summary

__all__ = ["is_comparison", "is_run", "read_comparison", "read_run"]


def is_run(path: Path) -> bool:
    """A run directory, or a summary of one."""
    return (path / "events.jsonl").is_file() or (path / "summary.json").is_file() or (path.is_file() and path.suffix == ".json")


def is_comparison(path: Path) -> bool:
    """The directory of a comparison."""
    return (path / "design.json").is_file()


def read_run(path: Path) -> Given:
    """Judged from its rows, else its summary. Raises UsageError if there is neither."""
    if path.is_dir():
        rundir = RunDir(path.resolve())
        if not rundir.dropped.exists() and any(rundir.path.glob("*.rows")):
            judged = judged_run(rundir)
            return Given(rundir.path.name, judged.summary, judged)
        file, name = rundir.summary, rundir.path.name
    else:
        file, name = path, path.stem if path.stem != "summary" else path.resolve().parent.name
    try:
        return Given(name, Summary.model_validate_json(file.read_bytes()))
    except OSError as error:
        raise UsageError(f"{path} is no run that can be compared: {file.name} cannot be read ({error.strerror})") from None
    except ValidationError as error:
        raise UsageError(f"{file} is no summary of a run: {_first(error)}") from None


def read_comparison(path: Path) -> Comparison:
    """A comparison.json, or that of a directory. Raises UsageError if it is none."""
    file = path / "comparison.json" if path.is_dir() else path
    try:
        return Comparison.model_validate_json(file.read_bytes())
    except OSError as error:
        hint = "write one with: afterload compare SCENARIO --json main.json"
        raise UsageError(f"cannot read the baseline {file}: {error.strerror}", hint) from None
    except ValidationError as error:
        hint = "it has to be a comparison.json: write one with afterload compare SCENARIO --json main.json"
        raise UsageError(f"{file} is no comparison: {_first(error)}", hint) from None


def _first(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    where = ".".join(map(str, problem["loc"]))
    return f"{where}: {problem['msg']}" if where else str(problem["msg"])
