"""scipy.stats, imported when a comparison is judged: its import takes longer than that of all else, and screens import us."""

from __future__ import annotations

import importlib
from typing import Any, Final

__all__ = ["stats"]


class _Later:
    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module("scipy.stats"), name)


stats: Final = _Later()
