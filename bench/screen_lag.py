"""`python -m bench.screen_lag FILE ARGUMENTS...`: afterload's screen with a stop-watch on its event loop.

Every 20 ms it should wake up; by how much it does so too late is written to FILE when the screen ends, and when frames came.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import dashboard.app
from dashboard.entry import main
from harness.live.frame import Frame

EVERY_S = 0.02

lags_ms: list[float] = []
frames_s: list[float] = []


class Watched(dashboard.app.Dashboard):
    """The app, and one timer more."""

    def on_mount(self) -> None:
        # Textual calls the handlers of all base classes by itself.
        self.watch_task = asyncio.create_task(_watch())

    def _hand_on(self, frame: Frame, side: int) -> None:
        frames_s.append(time.perf_counter())
        super()._hand_on(frame, side)


async def _watch() -> None:
    while True:
        due_s = time.perf_counter() + EVERY_S
        await asyncio.sleep(EVERY_S)
        lags_ms.append((time.perf_counter() - due_s) * 1e3)


if __name__ == "__main__":
    path, *arguments = sys.argv[1:]
    dashboard.app.Dashboard = Watched  # type: ignore[misc]
    sys.argv = ["afterload", *arguments]
    try:
        main()
    finally:
        Path(path).write_text(json.dumps({"lags_ms": lags_ms, "frames_s": frames_s}))
