"""What a run may say of the machine that it was made on, and what follows for its exit status.

No test is about how its load fared on a busy machine: that a late generator ends as INCONCLUSIVE is a promise of the product, and
has tests of its own. Every other run is asked for the rest.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

LATE = re.compile(r"The generator (was late|stood still)")
"""Reasons that come of a busy machine, whatever the run."""


def summary_in(run: Path) -> dict[str, Any]:
    """That of the run in this directory."""
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return summary


def require_judged(status: int, summary: dict[str, Any], said: str) -> None:
    """Nothing but a busy machine is a reason to doubt this run, and its exit status says the same as its verdict."""
    assert [reason for reason in summary["reasons"] if not LATE.match(reason)] == [], said
    assert (summary["verdict"], status) == (("INCONCLUSIVE", 4) if summary["reasons"] else ("PASS", 0)), said
