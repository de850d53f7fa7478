"""The keys, in one row, as far as there is room: what matters most stands first, and what cannot work now is dimmed.

Textual's own footer scrolls where it is too narrow, and hides the keys for help and for quitting first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from textual.binding import Binding

from dashboard.panels.lines import Line, Role, Run
from dashboard.panels.textpanel import TextPanel

__all__ = ["NO_HEAT_MAP", "KeyBar"]

NO_HEAT_MAP: Final = "No heat map is shown, whose colour could be another: h shows it."
_SAID_FOR_S: Final = 4.0


class KeyBar(TextPanel):
    """The bindings of its screen that are to be shown. A click does what the key does. It also says why a key did nothing."""

    DEFAULT_CSS = """
    KeyBar { dock: bottom; height: 1; background: $panel; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._said = self._reads_out = ""
        self._actions: dict[str, str] = {}

    def on_mount(self) -> None:
        """The first time."""
        self.renew()

    def on_resize(self) -> None:
        """More of them, or fewer."""
        self.renew()

    def say(self, text: str, for_s: float = _SAID_FOR_S) -> None:
        """A sentence in the place of the keys, for a few seconds."""
        self._said = text
        self.renew()
        self.set_timer(for_s, lambda: self.unsay(text))

    def read_out(self, text: str) -> None:
        """What stands there while the mouse is somewhere; a sentence that is said comes first. Empty: the keys."""
        self._reads_out = text
        self.renew()

    def unsay(self, text: str) -> None:
        """The sentence is true no longer, or was there for long enough."""
        if self._said == text:
            self._said = ""
            self.renew()

    def renew(self) -> None:
        """As it is now: what can be done changes while a run goes on."""
        if text := self._said or self._reads_out:
            self.show([((f" {text}", "title"),)])
            return
        self._actions = {}
        runs: list[Run] = []
        left = self.size.width - 1
        shown = [(bool(self._why_not(binding.action)), binding) for binding in self._shown()]
        # What can do nothing now goes to the end, where it is the first for which there is no room.
        for is_off, binding in sorted(shown, key=lambda each: each[0]):
            key, name = self.app.get_key_display(binding), self._label(binding)
            left -= len(key) + len(name) + 3
            if left < 0:
                break
            role: Role = "muted" if is_off else "key"
            runs += [(" ", ""), (key, role), (f" {name}", "muted" if is_off else ""), (" ", "")]
            self._actions[key] = binding.action
        self.show([tuple(runs)])

    def _why_not(self, action: str) -> str:
        ask = getattr(self.screen, "why_not", None)
        return str(ask(action)) if ask is not None else ""

    def _label(self, binding: Binding) -> str:
        ask = getattr(self.screen, "key_name", None)
        return (str(ask(binding.action)) if ask is not None else "") or binding.description

    def _shown(self) -> Sequence[Binding]:
        found: dict[str, Binding] = {}
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if binding.show and active.enabled:
                found.setdefault(binding.action, binding)
        # Their order is that of the screen's own list, which begins with what matters most.
        order = {
            each.action if isinstance(each, Binding) else each[1]: number for number, each in enumerate(self.screen.BINDINGS)
        }
        return sorted(found.values(), key=lambda binding: order.get(binding.action, len(order)))

    def _runs(self, one: Line, _row: int) -> Sequence[tuple[str, Role, dict[str, str] | None]]:
        found: list[tuple[str, Role, dict[str, str] | None]] = []
        meta: dict[str, str] | None = None
        for text, role in one:
            if text in self._actions and role in {"key", "muted"}:
                action = self._actions[text]
                meta = {"@click": action if action.startswith(("app.", "screen.")) else f"screen.{action}"}
            elif text == " ":
                meta = None
            found.append((text, role, meta))
        return found
