"""What nobody has foreseen is told on the screen with its cause, and the screen goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

import dashboard.exporting
from dashboard.app import Dashboard
from dashboard.modals.error import ErrorModal
from dashboard.watching import Mode, Watching
from harness.errors import RunError

from .conftest import play, shown, until

Make = Callable[..., Dashboard]


def said(screen: Dashboard) -> list[tuple[str, str]]:
    """Without a terminal they are not drawn."""
    return [(each.title, each.message) for each in screen._notifications if not each.markup]


def test_an_error_that_nobody_has_foreseen_is_told_with_its_cause_and_the_screen_goes_on(
    app: Make, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a report is written, in a thread; the next one is written."""
    real = dashboard.exporting.write_reports

    def planted(path: Path, names: object) -> list[str]:
        raise ZeroDivisionError(f"planted for {names}")

    async def script(pilot: Pilot[None]) -> None:
        screen = pilot.app
        assert isinstance(screen, Dashboard)
        await until(pilot, lambda: screen.frames[0], "the recording")
        monkeypatch.setattr(dashboard.exporting, "write_reports", planted)
        screen._write_reports(runs["killed"], ["markdown"])
        await until(pilot, lambda: "The report was not written" in shown(screen), "the error")
        assert isinstance(screen.screen, ErrorModal)
        text = shown(screen)
        assert "ZeroDivisionError: planted for ['markdown']" in text
        assert "in planted" in text
        await pilot.press("enter")
        monkeypatch.setattr(dashboard.exporting, "write_reports", real)
        screen._write_reports(runs["killed"], ["markdown"])
        await until(pilot, lambda: (runs["killed"] / "report.md").exists(), "the report")

    play(app(watching=Watching(runs["killed"], Mode.REPLAY)), script, (120, 36))


def test_an_error_of_ours_is_a_sentence(app: Make, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """With what stands in brackets, which is no markup."""

    def refused(path: Path, names: object) -> list[str]:
        raise RunError("cannot write runs/[old]/report.md: No space left on device")

    async def script(pilot: Pilot[None]) -> None:
        screen = pilot.app
        assert isinstance(screen, Dashboard)
        await until(pilot, lambda: screen.frames[0], "the recording")
        monkeypatch.setattr(dashboard.exporting, "write_reports", refused)
        screen._write_reports(runs["killed"], ["markdown"])
        await until(pilot, lambda: said(screen), "the sentence")
        assert said(screen) == [("The report was not written", "cannot write runs/[old]/report.md: No space left on device")]
        assert not isinstance(screen.screen, ErrorModal)

    play(app(watching=Watching(runs["killed"], Mode.REPLAY)), script, (120, 36))
