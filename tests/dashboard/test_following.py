"""Who is followed: another run at once, whatever the follower of the one before is at; and none of its frames for the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from dashboard.app import Dashboard
from dashboard.following import Looks
from dashboard.screens.live import LiveScreen
from dashboard.watching import Mode, Watching
from harness.live.frame import Frame, Look, Phase

from .conftest import play, shown, until
from .frames import frame_of, with_newest
from .simulation import HEALTHY, simulate

Make = Callable[..., Dashboard]


class Slow:
    """A follower that is in the middle of a long run when somebody wants another one, and tells what it has in the end."""

    made: dict[str, Slow]
    may_end: threading.Event

    def __init__(self, path: Path, *, tell: Callable[[Frame], None], every_s: float) -> None:
        frame = frame_of(simulate(HEALTHY), Look(0, 60, 1), 50.0)
        self.frame = replace(frame, about=replace(frame.about, run_id=path.name))
        self.tell, self.is_closed = tell, threading.Event()
        self.made[path.name] = self

    def start(self) -> None:
        self.tell(self.frame)

    def look(self, look: Looks) -> None:
        """It is always the same."""

    def close(self) -> None:
        self.may_end.wait(30)
        self.tell(with_newest(self.frame, phase=Phase.ENDED))
        self.is_closed.set()


@pytest.fixture
def slow() -> Iterator[type[Slow]]:
    Slow.made, Slow.may_end = {}, threading.Event()
    yield Slow
    Slow.may_end.set()


def test_a_run_that_is_shown_instead_is_there_at_once_and_gets_no_frame_of_the_one_before(
    app: Make, here: Path, slow: type[Slow]
) -> None:
    async def script(pilot: Pilot[None]) -> None:
        dashboard = pilot.app
        assert isinstance(dashboard, Dashboard)

        def shows(name: str) -> bool:
            frame = dashboard.frames[0]
            return frame is not None and frame.about.run_id == name

        await until(pilot, lambda: shows("one"), "the first run")
        dashboard.show_run(Watching(here / "two", Mode.ATTACHED))
        assert not slow.made["one"].is_closed.is_set()
        await until(pilot, lambda: shows("two"), "the second run")
        slow.may_end.set()
        await until(pilot, slow.made["one"].is_closed.is_set, "the end of the first follower")
        await pilot.pause(0.1)
        assert shows("two")
        assert isinstance(dashboard.screen, LiveScreen)
        assert not dashboard.screen._is_over

    play(app(watching=Watching(here / "one", Mode.ATTACHED), make_follower=slow), script)


def test_the_first_picture_has_the_row_of_keys_that_stays(app: Make, here: Path, slow: type[Slow]) -> None:
    """A moment before the first frame no key is left out that comes with it: one that can do nothing yet says so."""

    class Silent(slow):  # type: ignore[misc, valid-type]
        def start(self) -> None:
            """It has nothing to tell yet."""

    slow.may_end.set()

    async def script(pilot: Pilot[None]) -> None:
        dashboard = pilot.app
        assert isinstance(dashboard, Dashboard)
        await until(pilot, lambda: "one" in slow.made, "it is followed")
        await until(pilot, lambda: "Freeze" in shown(dashboard).splitlines()[-1], "the row of keys")
        await pilot.press("space")
        await until(pilot, lambda: "Nothing is known of the run yet." in shown(dashboard).splitlines()[-1], "what is said")
        assert dashboard.frames[0] is None

    play(app(watching=Watching(here / "one", Mode.ATTACHED), make_follower=Silent), script)
