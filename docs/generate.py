"""Writes the generated parts of the documentation: help, schemas, settings of scenarios, the README's output.

`python -m docs.generate` writes the first three; `--run DIR` also puts the summary of a run into the README, whose picture
docs/screenshots.py makes. A test keeps the first three true (tests/test_docs.py).
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
from pydantic import BaseModel

from dashboard.commandline import main as cli
from docs.errors import errors_text
from docs.planschema import plan_schema_text
from docs.reference import findings_text
from docs.screenkeys import dashboard_text
from harness.capacity.schema import Capacity
from harness.compare.record import Comparison
from harness.schema import Summary
from harness.text import render
from scenarios.registry import find

__all__ = ["findings_text", "help_text", "scenarios_text", "schema_text"]

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"

_SETTINGS = re.compile(r"(<!-- settings: (\w+) -->)\n.*?(<!-- end of settings -->)", re.DOTALL)


def help_text() -> str:
    """`--help` of every command, 80 columns wide."""
    # With the settings that the program itself has; click remembers the names of --help from whoever asked first.
    root = click.Context(cli, info_name="afterload", terminal_width=80, max_content_width=80, **cli.context_settings)
    return "\n".join(f"$ {context.command_path} --help\n{context.get_help()}\n" for context in _contexts(root))


def _contexts(context: click.Context) -> Iterator[click.Context]:
    """Of a command and all commands below it."""
    yield context
    if isinstance(context.command, click.Group):
        for name, command in sorted(context.command.commands.items()):
            yield from _contexts(click.Context(command, parent=context, info_name=name))


def schema_text(model: type[BaseModel] = Summary) -> str:
    """The JSON schema of summary.json, or of another file."""
    return json.dumps(model.model_json_schema(), indent=2) + "\n"


def scenarios_text(text: str) -> str:
    """The text of docs/scenarios.md with the table of settings of each scenario put between its marks."""
    return _SETTINGS.sub(lambda found: f"{found[1]}\n{_table(found[2])}{found[3]}", text)


def _table(name: str) -> str:
    rows = [
        f"| `{setting.name}` | {setting.default or 'none'} | {setting.allowed} | {setting.help} |\n"
        for setting in find(name).settings
    ]
    return "".join(["| `--set` | default | allowed | |\n|---|---|---|---|\n", *rows])


def main() -> None:
    """Writes the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, help="run directory for the README's output")
    given = parser.parse_args()
    (DOCS / "cli.txt").write_text(help_text(), encoding="utf-8")
    (DOCS / "summary.schema.json").write_text(schema_text(), encoding="utf-8")
    (DOCS / "comparison.schema.json").write_text(schema_text(Comparison), encoding="utf-8")
    (DOCS / "capacity.schema.json").write_text(schema_text(Capacity), encoding="utf-8")
    (DOCS / "plan.schema.json").write_text(plan_schema_text(), encoding="utf-8")
    (DOCS / "errors.md").write_text(errors_text(), encoding="utf-8")
    (DOCS / "findings-reference.md").write_text(findings_text(), encoding="utf-8")
    dashboard = DOCS / "dashboard.md"
    dashboard.write_text(dashboard_text(dashboard.read_text(encoding="utf-8")), encoding="utf-8")
    scenarios = DOCS / "scenarios.md"
    scenarios.write_text(scenarios_text(scenarios.read_text(encoding="utf-8")), encoding="utf-8")
    if given.run is not None:
        summary = Summary.model_validate_json((given.run / "summary.json").read_text(encoding="utf-8"))
        text = README.read_text(encoding="utf-8")
        begin, end = text.index("<!-- output -->"), text.index("<!-- end of output -->")
        shown = f"<!-- output -->\n```text\n{render(summary).strip()}\n```\n"
        README.write_text(text[:begin] + shown + text[end:], encoding="utf-8")


if __name__ == "__main__":
    main()
