"""What somebody fills in to start a run, as arguments of `afterload run`. No widgets, no processes.

So the form can do nothing that the command line cannot, says the same of wrong values, and shows the command that does the same.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from harness.errors import RunError, UsageError

if TYPE_CHECKING:
    from harness.commands.asking import Prepared
    from harness.plan import Plan

__all__ = ["FIELDS", "OWN", "OWN_FIELDS", "Field", "arguments", "command_line", "prepare", "problem_field"]

OWN: Final = "your own app"
"""The entry for a command of the user's."""


@dataclass(frozen=True, slots=True)
class Field:
    """One thing to fill in."""

    name: str  # key of the plan
    label: str
    option: str  # of `afterload run`; empty: it is no option by itself
    help: str
    choices: tuple[str, ...] = ()  # the first one is the default
    is_list: bool = False  # several, with commas between them


FIELDS: Final = (
    Field("engine", "engine", "--engine", "what serves the scenario's app", ("rust", "uvicorn", "granian")),
    Field("tasks", "tasks", "--tasks", "how the background work is written", ("sync", "async", "blocking", "inline")),
    Field("pool", "pool", "--pool", "threads for def tasks"),
    Field("workers", "workers", "--workers", "processes of the server"),
    Field("rate", "rate", "--rate", "requests to start per second, answered or not"),
    Field("users", "users", "--users", "instead of a rate: users who each wait for their answer"),
    Field("for_s", "for", "--for", "how long to send load, e.g., 30s"),
    Field("faults", "fault", "--fault", "done to the server, e.g., kill@8s, stop@3s+2s; none", is_list=True),
    Field("slos", "limits", "--slo", "what has to hold, e.g., p99<50ms, lost==0", is_list=True),
    Field("settings", "set", "--set", "settings of the scenario, e.g., delay=200ms", is_list=True),
    Field("seed", "seed", "--seed", "makes traffic and arrivals repeatable"),
    Field("more", "more", "", "any other options of afterload run"),
)
_NOT_OF_OWN: Final = frozenset({"engine", "tasks", "workers", "settings"})
OWN_FIELDS: Final = (
    Field("command", "command", "", "what starts it, e.g., uvicorn main:app --port {port}"),
    Field("requests", "request", "--request", "what to send, e.g., POST /orders", is_list=True),
    Field("openapi", "openapi", "--from-openapi", "or make requests from its schema: auto, a file, a URL"),
    Field("ready", "ready", "--ready", "it is ready when it answers 2xx there, e.g., /health"),
    *(field for field in FIELDS if field.name not in _NOT_OF_OWN),
)


def arguments(scenario: str, values: Mapping[str, str]) -> list[str]:
    """Of `afterload run`, for what is filled in; what is empty is left to the defaults. Raises UsageError for open quotes."""
    found: list[str] = [] if scenario == OWN else [scenario]
    for field in OWN_FIELDS if scenario == OWN else FIELDS:
        text = values.get(field.name, "").strip()
        if not text or not field.option or (field.choices and text == field.choices[0]):
            continue
        parts = [part for part in re.split(r"\s*[,;]\s*", text) if part] if field.is_list else [text]
        for part in parts:
            found += [field.option, part]
    found += _split("more", values.get("more", ""))
    if scenario == OWN:
        found += ["--", *_split("command", values.get("command", ""))]
    return found


def command_line(given: Sequence[str]) -> str:
    """The same as one would type it."""
    return shlex.join(["afterload", "run", *given])


def prepare(given: Sequence[str], ask: Callable[[Plan], dict[str, Any]]) -> Prepared:
    """The plan of these arguments. Raises UsageError with what the command line would say."""
    # All that a run needs comes with these: nobody who only looks at a run waits for it.
    from harness.commands.asking import Asked
    from harness.commands.run import run

    try:
        # The names that --help has everywhere: click keeps those of whoever asks first.
        context = run.make_context("run", list(given), help_option_names=["-h", "--help"])
        options = dict(context.params)
        if options["out"] is not None:
            raise UsageError(
                "--out: the screen follows the run in a directory of its own in runs/", "leave it out, or use the command"
            )
        if options["dry_run"]:
            raise UsageError("--dry-run: that only shows something, and starts no run: leave it out")
        for name in ("out", "json_to", "dry_run", "keep_world"):
            options.pop(name)
        asked = Asked.of(context, options.pop("scenarios"), options.pop("plan_file"), options.pop("confirmed"), options)
        return asked.prepared(ask=ask)
    except click.UsageError as error:
        raise UsageError(error.format_message()) from None
    except click.exceptions.Exit:
        raise UsageError("that only shows something, and starts no run: leave it out") from None
    except RunError:
        raise
    except OSError as error:
        raise UsageError(f"{error.filename or 'a file'}: {error.strerror or error}") from None


def problem_field(error: UsageError, fields: Sequence[Field]) -> str | None:
    """The field that a problem is about: the first whose option or key it names."""
    text = str(error).partition(": ")[2] or str(error)
    places = {}
    for field in fields:
        names = [re.escape(name) for name in (field.option, field.name, field.name.removesuffix("s")) if name]
        found = re.search(rf"(?<![\w-])(?:{'|'.join(names)})(?![\w-])", str(error) if field.option in str(error) else text)
        if found:
            places[field.name] = found.start()
    return min(places, key=places.__getitem__, default=None)


def _split(name: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{name}: {text!r} cannot be split into words: {error}", "close the quotes") from None
