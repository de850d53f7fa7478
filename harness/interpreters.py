"""In what somebody's own server ran: interpreter and versions, as the probe in its processes said."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from harness.rundir import RunDir

__all__ = ["server_versions"]


def server_versions(rundir: RunDir) -> dict[str, str] | None:
    """Of the first process that said so; None where no probe was there."""
    for path in sorted(rundir.path.glob("tasks-*.notes.jsonl")):
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                # A process that was killed may have left half a line.
                with contextlib.suppress(ValueError, AttributeError):
                    said: dict[str, Any] = json.loads(line)
                    if said.get("kind") == "hooked" and isinstance(said.get("versions"), dict):
                        return {str(name): str(version) for name, version in said["versions"].items()}
    return None
