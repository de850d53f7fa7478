"""Pictures of the screen for the README, from a run that really was: `python -m docs.screenshots RUN [--into docs]`.

One SVG a size, by Textual itself; with a Chromium in the path each as PNG too, because SVGs name a font that not everybody has.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from dashboard.app import Dashboard
from dashboard.options import THEMES, ScreenOptions
from dashboard.watching import Mode, Watching

__all__ = ["picture", "png_of"]

SIZES: Final = ((80, 24), (120, 36), (200, 60))
_WAIT_S: Final = 60.0
_BROWSERS: Final = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


async def picture(run: Path, size: tuple[int, int], keys: list[str], theme: str) -> str:
    """The live screen over the recording, after these keys, as SVG."""
    app = Dashboard(ScreenOptions(theme=theme), watching=Watching(run, Mode.REPLAY))
    async with app.run_test(size=size) as pilot:
        end = time.monotonic() + _WAIT_S
        while app.frames[0] is None or app.frames[0].summary is None:
            if time.monotonic() > end:
                raise SystemExit(f"{run} shows no figures; is it a run that is over?")
            await pilot.pause(0.05)
        await pilot.pause(0.5)
        await pilot.press(*keys)
        await pilot.pause(1.0)
        return app.export_screenshot(title="afterload")


def png_of(svg: str, path: Path) -> bool:
    """Writes it as PNG, if there is a Chromium to do it."""
    browser = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    shape = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    if browser is None or shape is None:
        return False
    width, height = (round(float(each)) for each in shape.groups())
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(
            f"<style>body{{margin:0}}svg{{width:{width}px;height:{height}px;display:block}}</style>{svg}", encoding="utf-8"
        )
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},{height}"]
        command += [f"--user-data-dir={folder}/profile", f"--screenshot={path}", page.as_uri()]
        done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    return done.returncode == 0 and path.exists()


def main() -> None:
    """Writes the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="directory of a run that is over")
    parser.add_argument("--into", type=Path, default=Path(__file__).parent, help="where the pictures go")
    parser.add_argument("--keys", default="", help="pressed before, with commas between them, e.g., comma,comma,h")
    parser.add_argument("--theme", choices=THEMES, default="dark")
    given = parser.parse_args()
    keys = [key for key in given.keys.split(",") if key]
    for columns, rows in SIZES:
        svg = asyncio.run(picture(given.run, (columns, rows), keys, given.theme))
        target = given.into / f"screen-{columns}x{rows}.svg"
        target.write_text(svg, encoding="utf-8")
        has_png = png_of(svg, target.with_suffix(".png"))
        print(f"wrote {target}{' and its PNG' if has_png else ''}")  # noqa: T201


if __name__ == "__main__":
    main()
