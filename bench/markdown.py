"""The findings of a bench as a Markdown table, put between two marks of a document.

`<!-- bench:begin -->` takes all of them, `<!-- bench:begin targets -->` those that have a target.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bench.table import Finding
from harness.errors import UsageError

__all__ = ["renew"]

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"

_PLACE = re.compile(r"<!-- bench:begin( targets)? -->\n.*?<!-- bench:end -->", re.DOTALL)


def renew(document: Path, findings: Sequence[Finding], conditions: str) -> None:
    """Replaces what is between the marks. Raises UsageError if they are not there."""

    def place(found: re.Match[str]) -> str:
        shown = [finding for finding in findings if finding.met is not None] if found[1] else findings
        return f"<!-- bench:begin{found[1] or ''} -->\n{table(shown)}\n{conditions}\n{END}"

    text, n_places = _PLACE.subn(place, document.read_text(encoding="utf-8"))
    if not n_places:
        raise UsageError(f"{document} has no place for the table", f"put the lines {BEGIN} and {END} where it should be")
    document.write_text(text, encoding="utf-8")


def table(findings: Sequence[Finding]) -> str:
    lines = ["| | bundled | against | ratio (min..max) | target |", "|---|---|---|---|---|"]
    for found in findings:
        mark = "" if found.met is None else " ✔" if found.met else " ✖"
        lines.append(f"| {found.what} | {found.value} | {found.against} | {found.ratio} | {found.target}{mark} |")
    return "\n".join(lines) + "\n"
