"""The screen for those who do not see one: sentences on standard error as things happen, the summary at the end."""

from __future__ import annotations

import contextlib
import queue
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

import click

from dashboard.child import RunChild
from dashboard.ending import tell_end
from dashboard.options import ScreenOptions
from dashboard.story import Story
from dashboard.watching import Mode, Watching
from harness.commands.showing import EXIT_STATUS, shown_path, write_summary
from harness.control import Stop, send
from harness.errors import RunError
from harness.live.follower import Follower
from harness.live.frame import Frame, Look, Phase
from harness.live.history import History

__all__ = ["show_plainly"]

_REPLAY_STEP_S: Final = 0.5
_LAST_WORDS_S: Final = 5.0


def show_plainly(options: ScreenOptions, watching: Watching | None, arguments: Sequence[str] | None) -> int:
    """Tells a run until it is over. Returns the exit status: that of its verdict, as the screen would."""
    if watching is not None and watching.mode is Mode.REPLAY:
        return _replay(watching.path)
    child = None if watching is not None else RunChild.start(arguments or ["email"], (arguments or ["email"])[0])
    return _follow(options, child, child.path if child is not None else _path(watching))


def _path(watching: Watching | None) -> Path:
    assert watching is not None
    return watching.path


def _replay(path: Path) -> int:
    history = History(path)
    history.refresh()
    newest = history.frame(Look(0.0, 1.0, 1.0, heat=False))
    story, at_s = Story(), 0.0
    while at_s < newest.newest_s:
        _say(story.of(history.frame(_look(at_s))))
        at_s += _REPLAY_STEP_S
    _say(story.of(newest))
    if newest.summary is None:
        click.echo(f"no summary: afterload report {shown_path(path)} judges what there is", err=True)
        return 0
    write_summary(newest.summary, None)
    click.echo(f"run directory: {shown_path(path)}")
    return EXIT_STATUS[newest.summary.verdict]


def _look(at_s: float) -> Look:
    return Look(max(0.0, at_s - 10.0), max(1.0, at_s), 1.0, at_s=at_s, heat=False)


def _follow(options: ScreenOptions, child: RunChild | None, path: Path) -> int:
    frames: queue.SimpleQueue[Frame] = queue.SimpleQueue()
    interrupts = _Interrupts(child, path)
    follower = Follower(path, tell=frames.put, every_s=1 / options.fps)
    follower.look(lambda frame: Look(max(0.0, frame.newest_s - 10.0), max(1.0, frame.newest_s), 1.0, heat=False))
    story = Story()
    follower.start()
    try:
        with interrupts:
            for frame in _frames(frames, child, interrupts):
                interrupts.phase = frame.phase
                _say(story.of(frame))
                if frame.phase in {Phase.ENDED, Phase.CRASHED}:
                    break
    finally:
        follower.close()
    if child is not None and not interrupts.leaves:
        child.wait(_LAST_WORDS_S)
    watching = Watching(path, Mode.ATTACHED if child is None else Mode.OWN)
    status = tell_end(watching, child, ended_by=interrupts.leaves)
    if child is not None:
        child.close()
    return status


def _frames(frames: queue.SimpleQueue[Frame], child: RunChild | None, interrupts: _Interrupts) -> Iterator[Frame]:
    """Until nothing more can come."""
    silent_since = None
    while not interrupts.leaves:
        with contextlib.suppress(queue.Empty):
            yield frames.get(timeout=0.1)
        if child is not None and child.poll() is not None:
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > _LAST_WORDS_S:
                return


class _Interrupts:
    """The first Ctrl-C stops the load of a run of one's own, the second one leaves; of another's run the first one leaves."""

    def __init__(self, child: RunChild | None, path: Path) -> None:
        self._child = child
        self._path = path
        self.phase: Phase | None = None
        self.n = 0
        self.leaves: int | None = None

    def __enter__(self) -> None:
        self._before = {number: signal.signal(number, self._on) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on(self, number: int, _: FrameType | None) -> None:
        self.n += 1
        child = self._child
        if number != signal.SIGINT or child is None or child.poll() is not None or self.n > 1:
            self.leaves = number
            return
        _say(["stopping the load; the summary follows. Ctrl-C again leaves at once."])
        if self.phase is Phase.LOAD:
            try:
                send(self._path, Stop())
            except RunError:
                child.interrupt()
        elif self.phase in {None, Phase.START, Phase.DRAIN}:
            # Later there is nothing left to stop, and a signal would only cost the summary.
            child.interrupt()


def _say(lines: Sequence[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr, flush=True)  # noqa: T201
