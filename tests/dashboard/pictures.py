"""Pictures of whole screens that were looked at, compared byte for byte. RENEW_PICTURES=1 draws them anew: look at each."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from textual.app import App

FOLDER = Path(__file__).parent / "pictures"


async def drawn(app: App[Any], size: tuple[int, int], press: Sequence[str]) -> str:
    """The screen as SVG, once nothing on it moves any more."""
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await pilot.press(*press)
        await pilot.wait_for_scheduled_animations()
        await pilot.pause()
        # The names within the file are made from all of its content: one changed cell would change each line.
        return re.sub(r"terminal-\d+", "terminal", app.export_screenshot(title="afterload"))


async def assert_looks_as_ever(name: str, app: App[Any], size: tuple[int, int], press: Sequence[str] = ()) -> None:
    """Compares with the picture that is kept; what is seen now is put beside it, for eyes."""
    seen, kept = await drawn(app, size, press), FOLDER / f"{name}.svg"
    if os.environ.get("RENEW_PICTURES"):
        kept.write_text(seen, encoding="utf-8")
    beside = kept.with_suffix(".seen.svg")
    if seen != kept.read_text(encoding="utf-8"):
        beside.write_text(seen, encoding="utf-8")
        raise AssertionError(f"{name} looks different: compare {kept.name} and {beside.name} in {FOLDER.name}/")
    beside.unlink(missing_ok=True)
