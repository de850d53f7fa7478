"""The documentation says what the program does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import click

from dashboard.commandline import main
from docs import grid
from docs.errors import errors_text, messages
from docs.generate import help_text, scenarios_text, schema_text
from docs.reference import findings_text
from docs.screenkeys import dashboard_text
from harness.capacity.schema import Capacity
from harness.compare.record import Comparison
from harness.findings import CATALOGUE
from harness.rows import Gauge
from harness.rows.layout import ROW_TYPES
from scenarios.registry import NAMES

ROOT = Path(__file__).resolve().parents[1]


def test_the_help_in_the_documentation_is_the_help_of_the_program() -> None:
    """Renew with `make docs`."""
    assert (ROOT / "docs" / "cli.txt").read_text() == help_text()


def commands_of(group: click.Group, path: str = "afterload") -> Iterator[tuple[str, click.Command]]:
    yield path, group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands_of(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def test_every_command_and_option_is_in_the_pinned_help() -> None:
    """Also those of commands within commands, and none that is not shown."""
    sections = dict(re.findall(r"^\$ (afterload[\w -]*?) --help\n(.*?)(?=^\$ |\Z)", help_text(), re.MULTILINE | re.DOTALL))

    assert sections.keys() == {path for path, _ in commands_of(main)}
    for path, command in commands_of(main):
        assert command.help, path
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (path, parameter.name)
                assert all(option in sections[path] for option in parameter.opts), (path, parameter.opts)


def test_the_published_schema_is_the_schema_of_the_summary() -> None:
    """Renew with `make docs`."""
    assert (ROOT / "docs" / "summary.schema.json").read_text() == schema_text()
    assert (ROOT / "docs" / "capacity.schema.json").read_text() == schema_text(Capacity)


def test_the_published_schema_is_the_schema_of_a_comparison() -> None:
    """Renew with `make docs`."""
    assert (ROOT / "docs" / "comparison.schema.json").read_text() == schema_text(Comparison)


def test_the_keys_in_the_documentation_are_those_of_the_screen() -> None:
    """Renew with `make docs`."""
    text = (ROOT / "docs" / "dashboard.md").read_text()
    assert text == dashboard_text(text)
    assert "`live.freeze`" in text


def test_every_finding_is_in_the_reference() -> None:
    """Renew with `make docs`."""
    assert (ROOT / "docs" / "findings-reference.md").read_text() == findings_text()


def test_every_error_is_in_the_documentation() -> None:
    """Renew with `make docs`."""
    assert (ROOT / "docs" / "errors.md").read_text() == errors_text()


def test_the_errors_are_those_that_are_raised() -> None:
    """Some that are made in different ways: raised at once, from a variable, by a click type, returned by a function."""
    found = {message.text: message for message in messages()}

    assert found["nothing says what to send"].hint.startswith("name a request, e.g., --request")
    assert found["{name} lasts: say how long"].status == 2
    assert found["fault {fault} comes after the end of the load ({for_s} s): make it earlier, or load longer"].status == 2
    assert any(text.startswith("{value} is no size") for text in found)
    assert any(message.status == 1 and "was not ready after" in text for text, message in found.items())
    assert all("{ctx}" not in message.hint for message in found.values())


def test_no_finding_is_made_that_is_not_in_the_catalogue() -> None:
    """Each FoundOut(...) of the source begins with an id of the catalogue, and each id of the catalogue is made somewhere."""
    source = "".join(path.read_text() for path in sorted((ROOT / "harness" / "findings").glob("*.py")))
    made = set(re.findall(r'FoundOut\(\s*"([a-z-]+)"', source)) | set(re.findall(r'kind(?:, advice)? = "([a-z-]+)"', source))

    assert made == {entry.id for entry in CATALOGUE}


def test_every_scenario_is_described_with_the_settings_that_it_has() -> None:
    """Renew the tables with `make docs`."""
    text = (ROOT / "docs" / "scenarios.md").read_text()
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))

    assert text == scenarios_text(text)
    assert [name for name in sections if name in NAMES] == list(NAMES)
    for name in NAMES:
        assert "**What to look for.**" in sections[name]
        assert sections[name].count(f"<!-- settings: {name} -->") == 1


def test_every_command_and_option_of_the_readme_exists() -> None:
    """A README that names what is not there costs its reader's trust."""
    readme = (ROOT / "README.md").read_text()
    options = {option for _, command in commands_of(main) for parameter in command.params for option in parameter.opts}

    assert set(re.findall(r"^\s*afterload (\w+)", readme, re.MULTILINE)) <= set(main.commands)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", readme)) <= options | {"--help"}


def test_the_row_format_is_described_word_by_word() -> None:
    """docs/rows.md names every field of every kind of row and the number of every gauge."""
    text = (ROOT / "docs" / "rows.md").read_text()
    for kind, row_type in ROW_TYPES.items():
        described = text.split(f"**{kind.name.lower()}**")[1].split("**", 1)[0]
        for name in row_type.names or ():
            assert name.removesuffix("_ns") in described, (kind, name)
    table = text.split("## Gauges of a server")[1]
    for gauge in Gauge:
        assert f"| {int(gauge)} | `{gauge.name.lower()}`" in table


def test_the_figures_of_the_grid_in_the_pages_are_those_that_were_kept() -> None:
    """Renew with `python -m docs.grid renew`."""
    results = grid.read_results()
    assert set(results) == set(grid.SCENARIOS)
    for page in grid.PAGES:
        assert page.read_text(encoding="utf-8") == grid.renewed(page.read_text(encoding="utf-8"), results), page.name


def test_the_grid_is_whole_and_was_made_by_the_command_that_is_shown() -> None:
    for scenario, results in grid.read_results().items():
        assert results["command"] == grid.command_of(scenario)
        assert {(each["tasks"], each["engine"]) for each in results["configurations"]} == set(product(grid.TASKS, grid.ENGINES))
        assert min(len(each["figures"]["p50"]) for each in results["configurations"]) >= 3
