"""Help, palette and keys: everything that can be done can be found, and put on another key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.binding import Binding
from textual.pilot import Pilot
from textual.widgets import Static

from dashboard.app import Dashboard
from dashboard.keymap import read_keymap
from dashboard.metrics import METRICS, tooltip
from dashboard.registry import all_bindings, screens
from dashboard.screens.help import HelpScreen
from dashboard.screens.history import HistoryScreen
from dashboard.screens.start import StartScreen
from dashboard.themes import THEME_NAMES
from harness.errors import UsageError

from .conftest import play, shown, until

Make = Callable[..., Dashboard]


def words_of(screen: HelpScreen, name: str) -> str:
    return str(screen.query_one(f"#{name}", Static).content)


def test_the_help_has_the_keys_of_every_screen_and_every_metric(app: Make) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await pilot.press("question_mark")
        screen = pilot.app.screen
        assert isinstance(screen, HelpScreen)
        keys, metrics = words_of(screen, "keys"), words_of(screen, "metrics")
        for title, each in screens().items():
            assert f"{title} screen" in keys
            for binding in vars(each)["BINDINGS"]:
                assert not binding.description or binding.tooltip in keys or binding.description in keys
        for metric in METRICS:
            assert metric.name in metrics
            assert metric.how in metrics
        await pilot.press("m")
        await until(pilot, lambda: "CLIENT SEES" in shown(pilot.app), "the metrics")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, StartScreen), "the way back")

    play(app(), script)


def test_every_metric_is_explained_in_full() -> None:
    for metric in METRICS:
        assert all((metric.what, metric.how, metric.normal, metric.tips)), metric.id
        assert metric.what in tooltip(metric.id)


def test_every_key_has_an_id_and_words() -> None:
    """Otherwise nobody could put it elsewhere, or find it in the help."""
    for title, screen in screens().items():
        for binding in vars(screen)["BINDINGS"]:
            assert isinstance(binding, Binding), title
            assert binding.id, (title, binding.key)
            assert binding.description, (title, binding.key)


def test_no_screen_has_two_things_on_one_key() -> None:
    for title, screen in {"App": Dashboard, **screens()}.items():
        keys = [key for binding in vars(screen)["BINDINGS"] for key in binding.key.split(",")]
        assert len(keys) == len(set(keys)), title


def test_the_palette_has_the_keys_the_scenarios_and_the_themes(app: Make) -> None:
    async def script(pilot: Pilot[None]) -> None:
        dashboard = pilot.app
        assert isinstance(dashboard, Dashboard)
        found = {command.title: command for command in dashboard.get_system_commands(dashboard.screen)}
        themes = {f"Theme: {name}" for name in THEME_NAMES}
        assert {"Help", "Quit", "History", "Run", "Run email", "Run webhook", *themes} <= set(found)
        await pilot.press("ctrl+p", *"history")
        await pilot.pause(0.3)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(dashboard.screen, HistoryScreen), "what was chosen")
        found["Theme: light"].callback()
        assert dashboard.theme == "afterload-light"

    play(app(), script)


def test_no_two_things_that_a_screen_can_do_have_one_name() -> None:
    """In the palette nobody could tell them apart."""
    for title, screen in screens().items():
        named: dict[str, set[str]] = {}
        for binding in vars(screen)["BINDINGS"]:
            named.setdefault(binding.description, set()).add(binding.action)
        assert {name for name, actions in named.items() if len(actions) > 1} == set(), title


@pytest.mark.parametrize("theme", list(THEME_NAMES))
def test_each_theme_shows_everything(app: Make, theme: str) -> None:
    """Also those that are Textual's own, which know nothing of our colours."""

    async def script(pilot: Pilot[None]) -> None:
        assert pilot.app.theme == THEME_NAMES[theme]
        assert set(pilot.app.theme_variables) >= {"response", "done", "bad", "good", "muted-grid"}
        await until(pilot, lambda: "email" in shown(pilot.app), "the scenarios")

    play(app(options={"theme": theme}), script)


# Keys of one's own.


def keys_in(folder: Path, text: str) -> Path:
    path = folder / "keys.toml"
    path.write_text(text)
    return path


def test_a_key_can_be_put_elsewhere(app: Make, here: Path) -> None:
    """The new one works, the old one does not, and the help shows the new one."""
    path = keys_in(here, '[keys]\n"app.history" = "f6"\n')

    async def script(pilot: Pilot[None]) -> None:
        await pilot.press("H")
        await pilot.pause()
        assert isinstance(pilot.app.screen, StartScreen)
        await pilot.press("f6")
        await until(pilot, lambda: isinstance(pilot.app.screen, HistoryScreen), "the history")
        await pilot.press("question_mark")
        screen = pilot.app.screen
        assert isinstance(screen, HelpScreen)
        assert "f6" in words_of(screen, "keys")

    play(app(options={"keys": path}), script)


def test_the_file_of_keys_is_looked_for_where_the_system_keeps_such_files(app: Make, here: Path) -> None:
    (here / "config" / "afterload").mkdir(parents=True)
    keys_in(here / "config" / "afterload", '[keys]\n"app.history" = "f7"\n')

    async def script(pilot: Pilot[None]) -> None:
        await pilot.press("f7")
        await until(pilot, lambda: isinstance(pilot.app.screen, HistoryScreen), "the history")

    play(app(), script)


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("[keys]\n'live.freze' = 'f'", "there is no binding 'live.freze'", "did you mean 'live.freeze'?"),
        ("[keys]\n'app.help' = 5", "app.help is 5; allowed is a key", ""),
        ("[keys]\n'app.help' = ''", "app.help is ''; allowed is a key", ""),
        ("[keys]\n'app.help' = 'hyper-f'", "'hyper-f' is no key", "ctrl+f"),
        ("[keys]\n'app.help' = 'q'", "are both on 'q'", "give one of them another key"),
        ("[key]\n'app.help' = 'h'", "key is not understood; allowed is one table [keys]", ""),
        ("[keys", "are no TOML", ""),
    ],
)
def test_what_is_wrong_in_the_file_of_keys_is_named(tmp_path: Path, text: str, words: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_keymap(keys_in(tmp_path, text), all_bindings)

    assert words in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert hint in (caught.value.hint or "")


def test_a_file_of_keys_that_was_named_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file of keys"):
        read_keymap(tmp_path / "none.toml", all_bindings)
