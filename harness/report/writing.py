"""Writes a run's report: which formats there are, what their files are called, and how each is made.

What makes a format is imported when it is asked for: a run must not wait for what it needs not, and some of it is an extra.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from harness.errors import UsageError
from harness.rundir import RunDir
from harness.summary import Judged

__all__ = ["FORMATS", "Format", "write_page"]


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write a report: as text, or as a file or a directory that only its maker can write."""

    file: str  # its name in a directory
    help: str
    text: Callable[[Judged, RunDir], str] | None = None
    write: Callable[[Judged, Path], None] | None = None


def write_page(judged: Judged, rundir: RunDir) -> Path:
    """Writes report.html into the run directory. Raises OSError if it can't."""
    rundir.report.write_text(_html(judged, rundir), encoding="utf-8")
    return rundir.report


def _html(judged: Judged, rundir: RunDir) -> str:
    from harness.report.html import page

    return page(judged, name=rundir.path.name, version=metadata.version("afterload"))


def _markdown(judged: Judged, rundir: RunDir) -> str:
    from harness.report.markdown import markdown

    return markdown(judged.summary, rundir.path.name)


def _junit(judged: Judged, rundir: RunDir) -> str:
    from harness.report.junit import junit

    return junit(judged.summary, rundir.path.name)


def _csv(judged: Judged, _: RunDir) -> str:
    from harness.report.sheet import sheet

    return sheet(judged)


def _json(judged: Judged, _: RunDir) -> str:
    return judged.summary.model_dump_json(indent=2) + "\n"


def _picture(judged: Judged, path: Path) -> None:
    try:
        from harness.report.picture import draw
    except ModuleNotFoundError as error:
        raise _missing(error, "picture", "a picture") from None
    draw(judged, path)


def _parquet(judged: Judged, folder: Path) -> None:
    try:
        from harness.report.parquet import write_rows
    except ModuleNotFoundError as error:
        raise _missing(error, "parquet", "Parquet") from None
    write_rows(judged.evidence, folder)


def _missing(error: ModuleNotFoundError, extra: str, what: str) -> UsageError:
    return UsageError(f"{what} needs {error.name}, which is not installed", f"install it with: pip install 'afterload[{extra}]'")


FORMATS: Final = {
    "html": Format("report.html", "the page for people", text=_html),
    "markdown": Format("report.md", "short, for a pull request", text=_markdown),
    "junit": Format("junit.xml", "limits and invariants as test cases", text=_junit),
    "csv": Format("series.csv", "what happened in each second", text=_csv),
    "json": Format("summary.json", "the summary", text=_json),
    "png": Format("story.png", "the picture of the story (extra: picture)", write=_picture),
    "svg": Format("story.svg", "the same, as SVG (extra: picture)", write=_picture),
    "parquet": Format("parquet", "all rows, a folder of files (extra: parquet)", write=_parquet),
}
