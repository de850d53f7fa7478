"""What is to be done to the server now: which signal, to whom, for how long. The same faults as `--fault`, at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Button, Input, OptionList, Static

from dashboard.modals.modal import Modal
from harness.control import parse_command
from harness.errors import UsageError
from harness.live.frame import About

__all__ = ["CHOICES", "Choice", "KillModal"]


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that can be done."""

    fault: str  # its kind, as --fault has it
    label: str
    needs: str  # "", "length", "workers", or "grace", which may be left to the run
    default: str = ""  # of the length


CHOICES: Final = (
    Choice("kill", "SIGKILL to all its processes, counted exactly (kill)", ""),
    Choice("term", "SIGTERM, as a deploy sends it: drains, then ends (term)", "grace"),
    Choice("int", "SIGINT to all its processes, as Ctrl-C (int)", "grace"),
    Choice("crash", "SIGKILL out of the blue, without freezing first (crash)", ""),
    Choice("worker", "SIGKILL to one worker process (worker)", "workers"),
    Choice("stop", "SIGSTOP for a while: frozen, then on (stop)", "length", "2s"),
    Choice("squeeze", "The pool shrinks to one thread for a while (squeeze)", "length", "5s"),
)


class KillModal(Modal[str]):
    """Answers with a fault as `FaultNow` takes it: `kill`, `stop+2s`."""

    DEFAULT_CSS = """
    KillModal #length { width: 32; }
    KillModal #choices { height: auto; max-height: 8; border: none; padding: 0; background: $surface; }
    KillModal #choices > .option-list--option-highlighted { text-style: reverse; }
    KillModal #rest { height: 1; }
    KillModal #length-label { width: 14; }
    """

    def __init__(self, about: About) -> None:
        super().__init__()
        self.choices = tuple(each for each in CHOICES if each.needs != "workers" or about.workers > 1)

    def compose(self) -> ComposeResult:
        """The box."""
        with VerticalScroll(classes="box") as box:
            box.border_title = "Do to the server, now"
            yield OptionList(*(each.label for each in self.choices), id="choices", compact=True)
            with Horizontal(id="rest"):
                yield Static("for how long", id="length-label")
                yield Input("2s", id="length", compact=True)
            yield Static("", classes="problem", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Do it", id="do", variant="error", compact=True)
                yield Button("Back (esc)", id="back", compact=True)

    def on_mount(self) -> None:
        """The arrows choose, enter does it."""
        choices = self.query_one(OptionList)
        choices.focus()
        choices.highlighted = 0

    @property
    def fault(self) -> str:
        """What is chosen."""
        choice, text = self._choice, self.query_one("#length", Input).value.strip()
        if choice.needs == "length":
            return f"{choice.fault}+{text}"
        return f"{choice.fault}={text}" if choice.needs == "grace" and text else choice.fault

    def on_option_list_option_selected(self) -> None:
        """Enter on a choice, or a click: done, unless it has to be said for how long. Tab goes to the grace."""
        if self._choice.needs == "length":
            self.query_one("#length").focus()
        else:
            self.action_do_it()

    def on_option_list_option_highlighted(self) -> None:
        """A length where one is needed."""
        choice = self._choice
        is_asked = choice.needs in {"length", "grace"}
        self.query_one("#rest").display = is_asked
        if is_asked:
            length = self.query_one("#length", Input)
            length.value = choice.default
            length.placeholder = "as the run's --drain says" if choice.needs == "grace" else "e.g., 2s"
            self.query_one("#length-label", Static).update("grace" if choice.needs == "grace" else "for how long")
        self._judge()

    def on_input_changed(self) -> None:
        """Judged while it is typed."""
        self._judge()

    def on_input_submitted(self) -> None:
        """As the button."""
        self.action_do_it()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """An answer."""
        if event.button.id == "do":
            self.action_do_it()
        else:
            self.dismiss(None)

    def action_do_it(self) -> None:
        """If it can be done."""
        if not self._judge():
            self.dismiss(self.fault)

    @property
    def _choice(self) -> Choice:
        return self.choices[self.query_one(OptionList).highlighted or 0]

    def _judge(self) -> str:
        """What is wrong, shown too."""
        try:
            parse_command(f"fault={self.fault}")
            problem = ""
        except UsageError as error:
            problem = str(error)
        self.query_one(".problem", Static).update(problem)
        return problem
