"""What the tests of other parts have, for those of steering; and one run that is steered in every way."""

from __future__ import annotations

from tests.load.conftest import job, serve, start_load
from tests.run.conftest import folder

__all__ = ["folder", "job", "serve", "start_load"]
