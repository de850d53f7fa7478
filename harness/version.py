"""Which afterload this is."""

from __future__ import annotations

from importlib import metadata

__all__ = ["VERSION"]

VERSION = metadata.version("afterload")
