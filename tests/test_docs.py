"""The documentation says what the program does."""

from __future__ import annotations

import re
from pathlib import Path

from docs.generate import findings_text, help_text, scenarios_text, schema_text
from harness.commands.main import main
from harness.findings import CATALOGUE
from harness.rows import Gauge
from harness.rows.layout import ROW_TYPES
from scenarios.registry import NAMES

ROOT = Path(__file__).resolve().parents[1]


def test_the_help_in_the_documentation_is_the_help_of_the_program() -> None:
    """Renew with `make docs`."""
    assert (ROOT / "docs" / "cli.txt").read_text() == help_text()


def test_the_published_schema_is_the_schema_of_the_summary() -> None:
    """Renew with `make docs`."""
    assert (ROOT / "docs" / "summary.schema.json").read_text() == schema_text()


def test_every_finding_is_in_the_reference() -> None:
    """Renew with `make docs`."""
    assert (ROOT / "docs" / "findings-reference.md").read_text() == findings_text()


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
    options = {option for command in main.commands.values() for parameter in command.params for option in parameter.opts}

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
