"""Whole runs, as in tests/run."""

from tests.run.conftest import afterload, folder

__all__ = ["afterload", "folder"]
