"""What one finding is. A value: no behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

__all__ = ["SEVERITIES", "FoundOut", "Severity"]

Severity = Literal["info", "warning", "critical"]

SEVERITIES: Final[tuple[Severity, ...]] = ("critical", "warning", "info")
"""The gravest first."""


@dataclass(frozen=True, slots=True)
class FoundOut:
    """One finding."""

    id: str
    severity: Severity
    text: str  # sentences: what happened
    evidence: Mapping[str, Any] = field(default_factory=dict)  # the figures that they rest on
    next: str = ""  # what to try next
