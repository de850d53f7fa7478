"""The findings of a bench as a Markdown table, put between two marks of a document."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.table import Finding
from harness.errors import UsageError

__all__ = ["renew"]

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def renew(document: Path, findings: Sequence[Finding], conditions: str) -> None:
    """Replaces what is between the marks. Raises UsageError if they are not there."""
    text = document.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise UsageError(f"{document} has no place for the table", f"put the lines {BEGIN} and {END} where it should be")
    document.write_text(f"{before}{BEGIN}\n{table(findings)}\n{conditions}\n{END}{after}", encoding="utf-8")


def table(findings: Sequence[Finding]) -> str:
    lines = ["| | bundled | against | ratio (min..max) | target |", "|---|---|---|---|---|"]
    for found in findings:
        mark = "" if found.met is None else " ✔" if found.met else " ✖"
        lines.append(f"| {found.what} | {found.value} | {found.against} | {found.ratio} | {found.target}{mark} |")
    return "\n".join(lines) + "\n"
