"""The pictures are as they were when somebody looked at them."""

from __future__ import annotations

import pytest

from tests.raster.pictures import FOLDER, PICTURES


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_as_it_was_looked_at(name: str) -> None:
    """Renewed by `python -m tests.raster.pictures`; the difference is to be read before it is committed."""
    assert (FOLDER / f"{name}.txt").read_text(encoding="utf-8") == PICTURES[name]()


def test_no_picture_is_kept_that_is_not_drawn_any_more() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(PICTURES)
