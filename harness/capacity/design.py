"""What was asked for: the configurations whose capacity is searched for, and how. All that is needed to go on later."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from harness.capacity.search import Options

__all__ = ["Asking", "Design"]


class Asking(BaseModel):
    """One configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str  # what is varied; empty: nothing is
    plan: dict[str, Any]  # with its faults, which are tried at the end
    options: Options


class Design(BaseModel):
    """A whole command."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    began: str
    configurations: tuple[Asking, ...]
    target_rate: float | None = None
