"""Writes the report of a run, in any of the formats that are text, into its directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.errors import RunError
from harness.evidence import judged_run
from harness.report.writing import FORMATS
from harness.rundir import RunDir

__all__ = ["write_reports"]


def write_reports(path: Path, names: Sequence[str]) -> list[str]:
    """The names of the files written. Raises RunError if the run can't be judged, or nothing be written."""
    rundir = RunDir(path.resolve())
    judged = judged_run(rundir)
    files = []
    for name in names:
        form = FORMATS[name]
        if form.text is None:
            raise RunError(f"{name} is no text")
        target = rundir.path / form.file
        try:
            target.write_text(form.text(judged, rundir), encoding="utf-8")
        except OSError as error:
            raise RunError(f"cannot write {target}: {error.strerror}") from None
        files.append(form.file)
    return files
