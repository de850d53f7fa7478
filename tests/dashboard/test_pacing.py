"""On a line that is slower than the pictures, the newest one is shown and none before it."""

from __future__ import annotations

import os
import pty
import time
import tty
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import textual.driver
from textual.drivers._writer_thread import WriterThread
from textual.pilot import Pilot

from dashboard import app as of_app
from dashboard.app import Dashboard
from dashboard.following import Looks
from dashboard.pacing import is_choked
from dashboard.screens.live import LiveScreen
from dashboard.watching import Mode, Watching
from harness.live.frame import Frame, Look

from .conftest import play, until
from .frames import frame_of
from .simulation import HEALTHY, simulate


def wait_for(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)


class Driver:
    """What is looked at of Textual's."""

    def __init__(self, writer: WriterThread | None) -> None:
        self._writer_thread = writer


def test_a_terminal_is_choked_while_a_picture_waits_behind_another_one():
    """A real one, whose other end nobody reads: what is written first fills it."""
    ours, terminal = pty.openpty()
    tty.setraw(terminal)
    with os.fdopen(terminal, "w") as file:
        writer = WriterThread(file)
        driver = cast("textual.driver.Driver", Driver(writer))
        writer.start()
        assert not is_choked(driver)
        writer.write("x" * 1_000_000)
        wait_for(lambda: not is_choked(driver), "it is being written")
        writer.write("behind it")
        assert is_choked(driver)
        left = 1_000_000 + len("behind it")
        while left:
            left -= len(os.read(ours, 65_536))
        wait_for(lambda: not is_choked(driver), "all was read")
        writer.stop()
    os.close(ours)


def test_nobody_waits_for_a_browser():
    assert not is_choked(cast("textual.driver.Driver", Driver(None)))
    assert not is_choked(None)


def test_pictures_that_a_slow_terminal_cannot_show_are_left_out(
    app: Callable[..., Dashboard], here: Path, monkeypatch: pytest.MonkeyPatch
):
    frame, is_slow, shown = frame_of(simulate(HEALTHY), Look(0, 60, 1), 50.0), [False], []
    tell: list[Callable[[Frame], None]] = []
    monkeypatch.setattr(of_app, "is_choked", lambda _: is_slow[0])
    monkeypatch.setattr(LiveScreen, "on_frame_arrived", lambda _, event: shown.append(event.frame.number))

    class Follower:
        def __init__(self, path: Path, *, tell: Callable[[Frame], None], every_s: float) -> None:
            self.tell = tell

        def start(self) -> None:
            tell.append(self.tell)

        def look(self, look: Looks) -> None:
            """It is always the same."""

        def close(self) -> None:
            """Nobody is told any more."""

    async def script(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: bool(tell), "it is followed")
        dashboard = pilot.app
        assert isinstance(dashboard, Dashboard)
        dashboard._on_top = None  # as if the first frame were there before the app has looked which screen is on top
        tell[0](replace(frame, number=1))
        await until(pilot, lambda: shown and dashboard._on_top is not None, "the first picture")
        await pilot.pause()
        assert shown == [1]
        is_slow[0] = True
        for number in (2, 3, 4):
            tell[0](replace(frame, number=number))
            await pilot.pause(0.15)
        assert shown == [1]
        is_slow[0] = False
        await until(pilot, lambda: shown == [1, 4], "the newest alone")
        tell[0](replace(frame, number=5))
        await until(pilot, lambda: shown == [1, 4, 5], "as before")

    play(app(watching=Watching(here, Mode.ATTACHED), make_follower=Follower), script)
