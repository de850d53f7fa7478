"""The first screen: what can be run, what one will see, and what may be changed before it begins."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import Screen
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from dashboard.form import FIELDS, OWN, OWN_FIELDS, Field, arguments, command_line, prepare, problem_field
from dashboard.importing import undisturbed
from dashboard.offers import Offer
from dashboard.panels.keybar import KeyBar
from dashboard.screens.choice import Choice
from harness.durations import show_duration
from harness.errors import RunError, UsageError
from harness.wording import counted

if TYPE_CHECKING:
    from dashboard.app import Dashboard
    from harness.plan import Plan

__all__ = ["StartScreen"]

_OWN_STORY: Final = (
    "Any program that serves HTTP. Nothing has to be changed in it; a Python app is watched from inside while it runs."
)
_CSS: Final = """
StartScreen { layout: vertical; }
StartScreen #title { height: 1; padding: 0 1; background: $panel; }
StartScreen #body { height: 1fr; }
StartScreen #scenarios { width: 16; height: 100%; border: none; padding: 0; background: $surface; scrollbar-size-vertical: 1; }
StartScreen #right { width: 1fr; height: 100%; }
StartScreen #summary { height: auto; padding: 0 1; text-style: bold; }
StartScreen #story { height: auto; padding: 0 1; color: $foreground; }
StartScreen.-short #summary { display: none; }
StartScreen #form { height: 1fr; padding: 0 1; margin-top: 1; scrollbar-size-vertical: 1; }
StartScreen .row { height: 1; }
StartScreen .label { width: 9; color: $text-muted; }
StartScreen Input { width: 1fr; background: $surface; }
StartScreen Input:focus { background: $primary 20%; }
StartScreen .-wrong { color: $error; text-style: bold underline; }
StartScreen #command { height: auto; max-height: 2; padding: 0 1; color: $text-muted; }
StartScreen #verdict { height: auto; max-height: 4; padding: 0 1; color: $success; }
StartScreen #verdict.-bad { color: $error; }
StartScreen.-narrow #scenarios { width: 14; }
StartScreen.-narrow #form { margin-top: 0; }
StartScreen.-roomy #scenarios { width: 22; padding: 1 1; }
StartScreen.-roomy #form { layout: grid; grid-size: 2; grid-rows: 1; grid-gutter: 1 3; }
StartScreen.-wide #scenarios { width: 28; padding: 1 1; }
StartScreen.-wide #form { layout: grid; grid-size: 2; grid-rows: 1; grid-gutter: 1 4; max-width: 140; }
"""


class _Scenarios(OptionList):
    """Enter runs the one that is chosen; a click only chooses."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "screen.run", "Run", id="start.run")]


class StartScreen(Screen[None]):
    """Scenarios on the left, the form on the right, and below the command that does the same."""

    app: Dashboard
    CSS = _CSS
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-roomy"), (150, "-wide")]  # noqa: RUF012 - Textual declares it so
    VERTICAL_BREAKPOINTS = [(0, "-short"), (22, "-high")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "app.help", "Help", id="app.help"),
        Binding("q", "app.leave", "Quit", id="app.leave"),
        Binding("enter", "screen.run", "Run", id="start.run"),
        Binding("ctrl+r,ctrl+j", "screen.run", "Run, also from a field", id="start.run_anywhere", show=False, priority=True),
        Binding("tab", "app.focus_next", "Options", id="start.options"),
        Binding("H", "app.history", "History", id="app.history"),
        Binding("escape", "back", "Back", id="start.back", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._offers: list[Offer] = []
        self._chosen = ""
        self._fields: tuple[Field, ...] = ()
        self._problem: UsageError | None = None
        self._is_awaited = False

    def compose(self) -> ComposeResult:
        """All widgets; the fields come with the scenario."""
        with Horizontal(id="title"):
            yield Static("[b]afterload[/b]  load-test what happens after the response", id="what")
        with Horizontal(id="body"):
            yield _Scenarios(id="scenarios")
            with Vertical(id="right"):
                yield Static("", id="summary")
                yield Static("", id="story")
                yield VerticalScroll(id="form", can_focus=False)
        yield Static("", id="command", markup=False)
        yield Static("asking which scenarios there are ...", id="verdict", markup=False)
        yield KeyBar()

    def on_mount(self) -> None:
        """Asks what there is; the answer comes at once if the app has asked early."""
        self.query_one("#scenarios").focus()
        # Not beside the first picture, which would wait for the interpreter.
        self.app.call_after_refresh(self._ask)

    @work(thread=True, exclusive=True, group="offers")
    def _ask(self) -> None:
        assert self.app.offers is not None
        self.app.offers.ask()
        # Meanwhile: what the form is judged with.
        with undisturbed():
            importlib.import_module("harness.commands.asking")
            importlib.import_module("harness.commands.run")
        try:
            offers = self.app.offers.wait()
        except RunError as error:
            self.app.call_from_thread(self._cannot_offer, str(error))
            return
        self.app.call_from_thread(self._offer, offers)

    def _offer(self, offers: list[Offer]) -> None:
        self._offers = offers
        scenarios = self.query_one("#scenarios", OptionList)
        scenarios.add_options([Option(each.name, id=each.name) for each in offers] + [Option(OWN, id="own")])
        remembered = self.app.remembered
        names = [each.name for each in offers] + [OWN]
        scenarios.highlighted = names.index(remembered[0]) if remembered and remembered[0] in names else 0

    def _cannot_offer(self, text: str) -> None:
        self.query_one("#verdict", Static).update(f"✖ {text}")

    # What is chosen.

    async def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Its story and its form."""
        name = OWN if event.option_id == "own" else str(event.option_id)
        if name == self._chosen:
            return
        kept = self._values() if self._chosen else (self.app.remembered[1] if self.app.remembered else {})
        self._chosen = name
        offer = self._offer_of(name)
        self.query_one("#summary", Static).update("Your own app, unchanged." if offer is None else offer.summary)
        self.query_one("#story", Static).update(_OWN_STORY if offer is None else offer.story)
        await self._show_fields(offer, kept)
        self._judge()
        if self._is_awaited:
            self._is_awaited = False
            self.action_run()

    def on_input_submitted(self) -> None:
        """Enter in a field."""
        self.action_run()

    def on_input_changed(self) -> None:
        """Judged while it is typed."""
        self._judge()

    def on_choice_changed(self) -> None:
        """The same for a choice."""
        self._judge()

    def action_run(self) -> None:
        """Starts the run, if it makes sense."""
        if not self._chosen:
            # Somebody is faster than the list: it is run as soon as there is one.
            self._is_awaited = True
            self._say("starting as soon as the scenarios are known ...", None)
            return
        if self._problem is not None:
            self.notify(_first_line(str(self._problem)), severity="error")
            if (field := problem_field(self._problem, self._fields)) is not None:
                self.query_one(f"#f-{field}").focus()
            return
        self.app.remembered = (self._chosen, self._values())
        self.app.start_run(arguments(self._chosen, self._values()), self._title())

    def action_back(self) -> None:
        """To the run that is shown, if there is one."""
        if len(self.app.screen_stack) > 2:
            self.app.remembered = (self._chosen, self._values())
            self.dismiss(None)

    async def _show_fields(self, offer: Offer | None, kept: dict[str, str]) -> None:
        form = self.query_one("#form", VerticalScroll)
        await form.remove_children()
        self._fields = OWN_FIELDS if offer is None else FIELDS
        rows = []
        for field in self._fields:
            choices = offer.kinds if offer is not None and field.name == "tasks" else field.choices
            widget: Choice | Input
            if choices:
                widget = Choice(choices, kept.get(field.name, ""), id=f"f-{field.name}")
            else:
                widget = Input(
                    kept.get(field.name, ""), placeholder=_placeholder(field, offer), compact=True, id=f"f-{field.name}"
                )
            widget.tooltip = f"{field.option} {field.help}".strip()
            rows.append(Horizontal(Label(field.label, classes="label"), widget, classes="row"))
        await form.mount(*rows)

    # What it comes to.

    def _judge(self) -> None:
        values = self._values()
        try:
            given = arguments(self._chosen, values)
            prepared = prepare(given, self._answer)
        except UsageError as error:
            self._problem = error
            shown = str(error) + (f"\n{error.hint}" if error.hint else "")
            self._say(f"✖ {shown}", problem_field(error, self._fields))
            return
        except RunError as error:
            self._problem = UsageError(str(error))
            self._say(f"✖ {error}", None)
            return
        self._problem = None
        self.query_one("#command", Static).update(f"$ {command_line(given)}")
        self._say(f"✔ {_in_words(prepared.plan)}", None)

    def _say(self, text: str, field: str | None) -> None:
        verdict = self.query_one("#verdict", Static)
        verdict.update(text)
        verdict.set_class(text.startswith("✖"), "-bad")
        for each in self.query("#form Input, #form Choice"):
            each.set_class(each.id == f"f-{field}", "-wrong")

    def _answer(self, plan: Plan) -> dict[str, Any]:
        """What the app says of itself, as far as a plan needs it; the run asks it again."""
        if plan.scenario is None:
            return {}
        offer = self._offer_of(plan.scenario)
        if offer is None:
            raise UsageError(f"there is no scenario {plan.scenario!r}")
        known = [each.name for each in offer.settings]
        for name in plan.settings:
            if name not in known:
                raise UsageError(f"set: the scenario {offer.name} has no setting {name!r}; it has {', '.join(known)}")
        return {"plan": offer.plan}

    def _values(self) -> dict[str, str]:
        found = {}
        for each in self.query("#form Input, #form Choice"):
            assert isinstance(each, (Input, Choice))
            found[str(each.id).removeprefix("f-")] = each.value
        return found

    def _offer_of(self, name: str) -> Offer | None:
        return next((each for each in self._offers if each.name == name), None)

    def _title(self) -> str:
        """Of the run directory."""
        if self._chosen != OWN:
            return self._chosen
        return prepare(arguments(self._chosen, self._values()), self._answer).plan.title


def _placeholder(field: Field, offer: Offer | None) -> str:
    """What happens if nothing is filled in, or an example."""
    plan: dict[str, Any] = (
        offer.plan if offer is not None else {"rate_per_s": 50.0, "duration_s": 10.0, "pool": None, "faults": ()}
    )
    match field.name:
        case "pool":
            return str(plan["pool"] or field.help)
        case "rate":
            return f"{plan['rate_per_s']:g}"
        case "for_s":
            return show_duration(plan["duration_s"])
        case "faults":
            return ", ".join(plan["faults"]) or field.help
        case "settings" if offer is not None:
            return ", ".join(f"{each.name}={each.default}" for each in offer.settings if each.default)
        case "workers" | "seed":
            return "1"
    return field.help


def _in_words(plan: Plan) -> str:
    load = "requests of a replay"
    if plan.profile is not None:
        load = counted(round(plan.profile.expected), "request")
    elif plan.users is not None:
        load = counted(plan.users, "user")
    faults = f", then {', '.join(plan.faults)}" if plan.faults else ""
    return f"{load} in {show_duration(plan.for_s)}{faults}"


def _first_line(text: str) -> str:
    return text.splitlines()[0]
