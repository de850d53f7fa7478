"""What a key asks of the run: commands, from what a setting is or will be; and why there is none. Pure functions.

What commands there are is imported with the first one: to look at a run nobody needs it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dashboard.panels.words import ladder_step
from harness.live.frame import Frame, Phase, Setting

if TYPE_CHECKING:
    from harness.control import Command

__all__ = ["Asked", "change", "why_not"]

_STEERING: Final = ("steer(", "app.kill", "app.restart", "app.mark")
_FORGOTTEN_S: Final = 3.0
_NAMES: Final = {"pool": ("pool",), "tasks": ("tasks",), "load": ("rate", "users")}
_MISSING: Final = {
    "pool": "Nothing can change the pool: this server has none that afterload knows of.",
    "tasks": "Nothing can change the kind of tasks: the app is not one of the scenarios.",
    "load": "Nothing can change the load: it follows stages or a recording.",
}
_NO_TASKS: Final = "Inline there are no tasks, whose kind could be changed."


class Asked:
    """What was asked for and is not in a frame yet: it is pending at once, and the next press of a key goes on from there."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[float | str, float]] = {}  # and the instant at which it was asked for

    def after(self, command: Command, frame: Frame) -> Frame:
        """The frame with what is asked for now."""
        from harness.control import SetPool, SetRate, SetTasks, SetUsers

        if isinstance(command, SetRate | SetUsers | SetPool | SetTasks):
            self._values[command.do] = (command.value, frame.newest_s)
        return self.shown_in(frame)

    def shown_in(self, frame: Frame) -> Frame:
        """The frame with what it does not know yet. After some seconds it would know: then it was refused."""
        if not self._values:
            return frame
        for each in frame.newest.settings:
            value, asked_s = self._values.get(each.name, (None, 0.0))
            if value in {each.value, each.pending} or frame.newest_s > asked_s + _FORGOTTEN_S:
                self._values.pop(each.name, None)
        newest = replace(frame.newest, settings=self._pending(frame.newest.settings))
        return replace(frame, settings=self._pending(frame.settings), newest=newest)

    def _pending(self, settings: tuple[Setting, ...]) -> tuple[Setting, ...]:
        return tuple(
            replace(each, pending=self._values[each.name][0]) if each.name in self._values else each for each in settings
        )


def change(frame: Frame, what: str, *, more: bool) -> Command | None:
    """The command for one press of a key. None: it is at its end already."""
    from harness.control import SetPool, SetRate, SetTasks, SetUsers

    setting = _setting(frame, what)
    if setting is None:
        return None
    now = setting.pending if setting.pending is not None else setting.value
    if what == "tasks":
        kinds = frame.about.kinds
        following = kinds[(kinds.index(str(now)) + 1) % len(kinds)] if now in kinds else now
        return SetTasks(str(following)) if following != now else None
    number = float(now) if isinstance(now, int | float) else 0.0
    if setting.name == "rate":
        return _if_new(SetRate(ladder_step(number, more)), number, ladder_step(number, more))
    stepped = int(ladder_step(max(number, 1.0), more, whole=True))
    return _if_new(SetUsers(stepped) if setting.name == "users" else SetPool(stepped), number, stepped)


def why_not(action: str, frame: Frame | None, cannot_steer: str) -> str:
    """A sentence; empty if the action can do something."""
    if not action.startswith(_STEERING):
        return ""
    if cannot_steer:
        return cannot_steer
    if frame is None:
        return "Nothing is known of the run yet."
    if frame.newest.phase in {Phase.STOP, Phase.JUDGE, Phase.ENDED, Phase.CRASHED}:
        return "The run is over: nothing in it can be changed."
    if not frame.about.can_be_steered:
        return "This run takes no commands."
    if action.startswith("steer("):
        what = action.split("'")[1]
        if _setting(frame, what) is None:
            return _MISSING[what]
        if what == "tasks" and len(frame.about.kinds) < 2:
            return _NO_TASKS if frame.about.tasks == "inline" else "This scenario has one kind of tasks."
        if what == "load" and frame.newest.phase is not Phase.LOAD:
            return "The load has not begun yet." if frame.newest.phase is Phase.START else "The load is over."
    return ""


def _setting(frame: Frame, what: str) -> Setting | None:
    return next((each for each in frame.newest.settings if each.name in _NAMES[what] and each.value is not None), None)


def _if_new(command: Command, before: float, after: float) -> Command | None:
    return command if after != before else None
