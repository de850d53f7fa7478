"""The first screen: what there is to run, the form, and what it says of what is filled in."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from dashboard.app import Dashboard
from dashboard.form import FIELDS, OWN, OWN_FIELDS, arguments, command_line, prepare, problem_field
from dashboard.modals.error import ErrorModal
from dashboard.offers import Offer, Offers
from dashboard.options import ScreenOptions
from dashboard.screens.choice import Choice
from dashboard.screens.live import LiveScreen
from dashboard.screens.start import StartScreen
from harness.errors import UsageError

from .conftest import play, shown, until

Make = Callable[..., Dashboard]


async def ready(pilot: Pilot[None]) -> StartScreen:
    screen = pilot.app.screen
    assert isinstance(screen, StartScreen)
    await until(pilot, lambda: screen.query("#f-more"), "the form")
    await pilot.pause()
    return screen


def verdict(screen: StartScreen) -> str:
    return str(screen.query_one("#verdict", Static).content)


def command(screen: StartScreen) -> str:
    return str(screen.query_one("#command", Static).content)


@pytest.mark.parametrize("size", [(60, 18), (80, 24), (120, 36), (200, 60)])
def test_every_scenario_is_there_with_what_one_will_see(app: Make, offers: list[Offer], size: tuple[int, int]) -> None:
    """At each size that counts, and with an own app as the last one; the story of the first one is not cut off."""

    async def script(pilot: Pilot[None]) -> None:
        screen = await ready(pilot)
        scenarios = screen.query_one("#scenarios", OptionList)
        names = [str(scenarios.get_option_at_index(number).prompt) for number in range(scenarios.option_count)]
        assert names == ["email", "action", "analytics", "cache", "files", "flaky", "webhook", OWN]
        text = " ".join(shown(pilot.app).split())
        assert "1,400 requests in 14s, then kill@8s" in text
        assert "$ afterload run email" in text
        assert "? Help q Quit" in text
        for word in offers[0].story.split():
            assert word in text

    play(app(), script, size)


def test_what_is_filled_in_becomes_the_command_that_does_the_same(app: Make) -> None:
    async def script(pilot: Pilot[None]) -> None:
        screen = await ready(pilot)
        screen.query_one("#f-rate", Input).value = "250"
        screen.query_one("#f-faults", Input).value = "stop@2s+1s, kill@5s"
        screen.query_one("#f-settings", Input).value = "delay=50ms"
        screen.query_one("#f-tasks", Choice).focus()
        await pilot.press("right")
        await pilot.pause()
        assert command(screen) == (
            "$ afterload run email --tasks async --rate 250 --fault stop@2s+1s --fault kill@5s --set delay=50ms"
        )
        assert verdict(screen) == "✔ 3,500 requests in 14s, then stop@2s+1s, kill@5s"

    play(app(), script)


def test_a_wrong_value_is_told_while_it_is_typed_and_starts_nothing(app: Make) -> None:
    """In the words of the command line; enter goes to the field that is wrong."""

    async def script(pilot: Pilot[None]) -> None:
        screen = await ready(pilot)
        screen.query_one("#f-pool", Input).value = "99999"
        await pilot.pause()
        assert verdict(screen) == "✖ options: pool is 99999; allowed is 10000 or less"
        assert screen.query_one("#f-pool").has_class("-wrong")
        screen.query_one("#scenarios").focus()
        await pilot.press("enter")
        await pilot.pause()
        assert pilot.app.screen is screen
        assert screen.query_one("#f-pool").has_focus
        screen.query_one("#f-pool", Input).value = ""
        await pilot.pause()
        assert verdict(screen).startswith("✔")
        assert not screen.query(".-wrong")

    play(app(), script)


def test_what_was_filled_in_stays_when_another_scenario_is_chosen(app: Make) -> None:
    async def script(pilot: Pilot[None]) -> None:
        screen = await ready(pilot)
        screen.query_one("#f-rate", Input).value = "77"
        screen.query_one("#scenarios").focus()
        await pilot.press("down")
        await until(pilot, lambda: command(screen) == "$ afterload run action --rate 77", "the other command")

    play(app(), script)


def test_an_app_of_ones_own_is_asked_for_its_command_and_requests(app: Make) -> None:
    async def script(pilot: Pilot[None]) -> None:
        screen = await ready(pilot)
        await pilot.press("end")
        await until(pilot, lambda: screen.query("#f-command"), "the form of an own app")
        await until(pilot, lambda: verdict(screen).startswith("✖ there is no command after --"))
        screen.query_one("#f-command", Input).value = "uvicorn main:app --port {port}"
        await until(pilot, lambda: "nothing says what to send" in verdict(screen))
        screen.query_one("#f-requests", Input).value = "POST /orders"
        await until(pilot, lambda: verdict(screen).startswith("✔ 500 requests in 10s"))
        assert command(screen) == "$ afterload run --request 'POST /orders' -- uvicorn main:app --port '{port}'"

    play(app(), script)


def test_enter_before_the_scenarios_are_known_runs_the_first_one_as_soon_as_they_are(here: Path, offers: list[Offer]) -> None:
    """Asked for the real list, which takes a while; there is no place for a run here, so it is refused in words."""
    (here / "runs").write_text("no directory")

    async def script(pilot: Pilot[None]) -> None:
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ErrorModal), "the answer")
        await until(pilot, lambda: "cannot write the run directory" in shown(pilot.app), "why not")

    app = play(Dashboard(ScreenOptions(), offers=Offers()), script)
    assert app.remembered is not None
    assert app.remembered[0] == offers[0].name


def test_a_run_that_cannot_begin_is_told_with_its_last_lines(app: Make) -> None:
    """A port that is taken: known only to the run itself. The form is as it was, and no empty run directory is left."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        async def script(pilot: Pilot[None]) -> None:
            screen = await ready(pilot)
            screen.query_one("#f-more", Input).value = f"--port {port}"
            await pilot.pause()
            await pilot.press("enter")
            assert isinstance(pilot.app.screen, LiveScreen)
            await until(pilot, lambda: isinstance(pilot.app.screen, ErrorModal), "the error")
            await until(pilot, lambda: f"port {port}" in shown(pilot.app), "its last lines")
            assert "exit status" in shown(pilot.app)
            await pilot.press("enter")
            screen = await ready(pilot)
            assert screen.query_one("#f-more", Input).value == f"--port {port}"

        child = play(app(), script).child
    assert child is not None
    child.close()
    assert not child.path.exists()


# The form without the screen.


@pytest.mark.parametrize(
    ("filled", "field", "words"),
    [
        ({"rate": "0"}, "rate", "rate is 0.0; allowed is more than 0"),
        ({"rate": "fast"}, "rate", "'fast' is no number"),
        ({"for_s": "10"}, "for_s", "'10' is no duration"),
        ({"for_s": "5s", "faults": "kill@20s"}, "faults", "comes after the end of the load"),
        ({"faults": "kil@3s"}, "faults", "did you mean 'kill'?"),
        ({"users": "5", "rate": "3"}, "rate", "give one of the two"),
        ({"slos": "p99<50ms, lost=0"}, "slos", "did you mean '=='?"),
        ({"more": "'"}, "more", "cannot be split into words"),
        ({"more": "--help"}, None, "only shows something"),
        ({"more": "--dry-run"}, None, "--dry-run: that only shows something"),
        ({"more": "--out elsewhere"}, None, "--out: the screen follows the run in a directory of its own"),
        ({"engine": "uvicorn", "more": "--order parallel"}, "engine", "only the bundled server knows"),
    ],
)
def test_each_problem_is_told_of_the_field_that_has_it(
    offers: list[Offer], filled: dict[str, str], field: str | None, words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        prepare(arguments("email", filled), lambda _: {"plan": offers[0].plan})

    assert words in str(caught.value)
    assert problem_field(caught.value, FIELDS) == field


def test_an_empty_form_is_the_command_with_the_name_alone() -> None:
    assert command_line(arguments("email", {field.name: "" for field in FIELDS})) == "afterload run email"
    assert arguments(OWN, {field.name: "" for field in OWN_FIELDS}) == ["--"]
