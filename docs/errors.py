"""Every error that the command line can end with, as the source has it: what is raised, with its hint, by AST."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["Message", "errors_text", "messages"]

FOLDERS: Final = tuple(Path(__file__).parents[1] / name for name in ("harness", "dashboard"))

_ERRORS: Final = {
    **dict.fromkeys(("UsageError", "BadParameter", "BadOptionUsage", "NoSuchOption", "fail"), 2),
    **dict.fromkeys(("RunError", "ChildDied", "ChildNotReady", "ClickException"), 1),
    # What a plan or an option is validated by: pydantic and click make a usage error of it.
    "ValueError": 2,
    # Likewise; the mark under the text and what is allowed there are added to it (harness/faultsyntax.py).
    "_refused": 2,
    "ReplayError": 2,
}
_COMMANDS: Final = (
    (
        "`afterload run`: options and plans",
        ("commands/run", "commands/params", "commands/showing", "plan", "durations", "scenario"),
    ),
    ("`afterload run`: faults", ("fault",)),
    ("`afterload run`: what is sent", ("traffic/", "load/", "loads", "replay", "ceiling", "calibration")),
    ("`afterload run`: limits (`--slo`)", ("slo", "verdict")),
    (
        "`afterload run`: while it goes on",
        ("session", "servers", "readiness", "processes/", "talk", "engines/", "rundir", "pages"),
    ),
    ("`afterload report`", ("evidence", "commands/report", "report/", "summary")),
    ("`afterload runs`", ("runs", "commands/runs", "leftovers")),
    ("`afterload load`", ("commands/load",)),
    ("`afterload doctor`", ("doctor", "commands/doctor")),
)
_OTHERS: Final = "Elsewhere"
_INTERNAL: Final = ("statistics", "timeline", "probe/", "rows/", "load/job")
"""Whose ValueErrors are for programmers: no user can cause them."""

_INTRO = """# Errors: what each one says

All messages that afterload itself ends with, as its source has them; `{...}` stands for what was given or found. Each begins with
`error: ` and is followed by a `hint: ` where there is something to try. The exit status is 2 where what was asked for makes no
sense (nothing was started), and 1 where afterload could not do its work; a verdict is no error (docs/cli.txt says its status).

"""


@dataclass(frozen=True, slots=True)
class Message:
    """One message, with placeholders."""

    module: str  # path below harness/, without .py
    line: int
    status: int
    text: str
    hint: str


def errors_text() -> str:
    """docs/errors.md."""
    grouped: dict[str, dict[tuple[str, str, int], None]] = {title: {} for title, _ in _COMMANDS} | {_OTHERS: {}}
    for message in messages():
        grouped[_title(message.module)][message.text, message.hint, message.status] = None
    parts = [_INTRO]
    for title, found in grouped.items():
        if found:
            rows = "".join(_row(*each) for each in sorted(found))
            parts.append(f"## {title}\n\n{rows}\n")
    return "".join(parts).rstrip() + "\n"


def _row(text: str, hint: str, status: int) -> str:
    return f"- {text} (exit {status})\n" + (f"  - *hint:* {hint}\n" if hint else "")


@cache
def messages() -> tuple[Message, ...]:
    """Of all modules of harness and dashboard, in the order of their names."""
    return tuple(_of_all())


def _of_all() -> Iterator[Message]:
    for path, module in _modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _of_function(module, function)


def _modules() -> Iterator[tuple[Path, str]]:
    """Files, and what their modules are called; those of the harness without its name."""
    for folder in FOLDERS:
        for path in sorted(folder.rglob("*.py")):
            module = path.relative_to(folder).with_suffix("")
            yield path, str(module if folder.name == "harness" else Path(folder.name) / module)


def _of_function(module: str, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Message]:
    for statement in _own_nodes(function):
        for name, call, is_clicks in _calls(statement):
            if name == "ValueError" and module.startswith(_INTERNAL):
                continue
            # The second argument of click's errors is its context.
            given = [] if is_clicks else [*(each.value for each in call.keywords if each.arg == "hint"), *call.args[1:2]]
            hint = " / ".join(_texts(given[0], function, statement.lineno)) if given else ""
            for text in _texts(call.args[0], function, statement.lineno):
                if _says_something(text):
                    yield Message(module, statement.lineno, _ERRORS[name], _shown(text), _shown(hint))


def _calls(statement: ast.stmt) -> Iterator[tuple[str, ast.Call, bool]]:
    """What a statement itself, and not one inside of it, makes of errors: (name of the class, call, whether it is click's)."""
    expressions = [child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.expr)]
    for call in (node for expression in expressions for node in ast.walk(expression) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        is_clicks = isinstance(call.func, ast.Attribute)
        # `self.fail(...)` of a click type raises.
        if call.args and name in _ERRORS and (name != "ValueError" or isinstance(statement, ast.Raise)):
            yield name, call, is_clicks


def _own_nodes(function: ast.AST) -> Iterator[ast.stmt]:
    """Statements of a function, those of functions inside of it left out."""
    for child in ast.iter_child_nodes(function):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if isinstance(child, ast.stmt):
            yield child
        yield from _own_nodes(child)


def _texts(node: ast.expr, function: ast.AST, before: int) -> list[str]:
    """The texts that an expression can become."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.Constant():
            return [""]
        case ast.JoinedStr(values=values):
            return ["".join(_part(value, function, before) for value in values)]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return [first + second for first in _texts(left, function, before) for second in _texts(right, function, before)]
        case ast.IfExp(body=body, orelse=orelse):
            return [*_texts(body, function, before), *_texts(orelse, function, before)]
        case ast.Name(id=name):
            return _assigned(name, function, before) or [f"{{{name}}}"]
        case _:
            return [f"{{{_short(node)}}}"]


def _part(node: ast.expr, function: ast.AST, before: int) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    assert isinstance(node, ast.FormattedValue)
    if isinstance(node.value, ast.Constant | ast.IfExp | ast.Name):
        texts = [text for text in _texts(node.value, function, before - 1) if text]
        # A variable that stands for something given is a placeholder; one that holds words is these words.
        if not isinstance(node.value, ast.Name) or any(_says_something(text) for text in texts):
            return texts[0] if len(texts) == 1 else "[" + " | ".join(texts) + "]"
    return f"{{{_short(node.value)}}}"


def _assigned(name: str, function: ast.AST, before: int) -> list[str]:
    """What the variable was last given before the line: in each branch, where there are several."""
    found: list[tuple[int, ast.expr]] = [
        (node.lineno, node.value)
        for node in _own_nodes(function)
        if isinstance(node, ast.Assign)
        and node.lineno <= before
        and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
    ]
    # Of one name that is used again and again (`msg`), the last one is meant; `if` and `else` give it side by side.
    return _texts(found[-1][1], function, found[-1][0] - 1) if found else []


def _short(node: ast.expr) -> str:
    match node:
        case ast.Attribute(attr=attr):
            return attr
        case ast.Name(id=name):
            return name
        case ast.Call(func=func, args=args):
            inner = [_short(arg) for arg in args[:1]]
            return inner[0] if inner else _short(func)
        case ast.Subscript(value=value):
            return _short(value)
        case _:
            return "..."


def _says_something(text: str) -> bool:
    """More than what comes from elsewhere."""
    depth, letters = 0, 0
    for letter in text:
        depth += (letter == "{") - (letter == "}")
        letters += depth == 0 and letter.isalpha()
    return letters >= 8


def _shown(text: str) -> str:
    return " ".join(text.split())


def _title(module: str) -> str:
    chosen = [(len(prefix), title) for title, prefixes in _COMMANDS for prefix in prefixes if module.startswith(prefix)]
    return max(chosen, default=(0, _OTHERS))[1]
