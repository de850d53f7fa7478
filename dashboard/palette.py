"""What the command palette offers: every key of the screen and of the app by what it does, the scenarios, the themes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from textual.app import SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from dashboard.themes import THEME_NAMES

if TYPE_CHECKING:
    from dashboard.app import Dashboard

__all__ = ["commands_of"]


def commands_of(app: Dashboard, screen: Screen[Any]) -> Iterator[SystemCommand]:
    """All that can be done from `screen`."""
    seen = set()
    for node, binding, is_enabled, tooltip in screen.active_bindings.values():
        if not binding.description or binding.action in seen or not is_enabled or binding.system:
            continue
        # What a field does with its own keys is nobody else's business; what it does for the screen is.
        if node is not app and node is not screen and not binding.action.startswith(("screen.", "app.")):
            continue
        seen.add(binding.action)
        yield SystemCommand(binding.description, tooltip or _key(app, binding), _runner(app, node, binding.action))
    for offer in app.known_offers:
        yield SystemCommand(f"Run {offer.name}", offer.summary, _starter(app, offer.name))
    for name, theme in THEME_NAMES.items():
        yield SystemCommand(f"Theme: {name}", "Colours of the screen", _setter(app, theme))


def _key(app: Dashboard, binding: Binding) -> str:
    return f"Key: {app.get_key_display(binding)}"


def _runner(app: Dashboard, node: Any, action: str) -> Any:
    async def run() -> None:
        await app.run_action(action, node)

    return run


def _starter(app: Dashboard, name: str) -> Any:
    return lambda: app.start_run([name], name)


def _setter(app: Dashboard, theme: str) -> Any:
    return lambda: setattr(app, "theme", theme)
