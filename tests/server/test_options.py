"""Everything that the server can be told is an option, named with its default, in the help and in the documentation."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import server
from server.__main__ import main

FIELDS = [field.name for field in dataclasses.fields(server.ServerConfig)]
DOCUMENT = (Path(__file__).parents[2] / "docs" / "server.md").read_text(encoding="utf-8")


def option_of(field: str) -> click.Option:
    return next(option for option in main.params if option.name == field and isinstance(option, click.Option))


@pytest.mark.parametrize("field", FIELDS)
def test_every_setting_is_an_option_of_the_command_line_with_the_same_default(field: str):
    """And the help says what it means."""
    option = option_of(field)
    assert main.make_context("server", ["module:app"]).params[field] == getattr(server.ServerConfig(), field)
    assert option.help
    said = CliRunner().invoke(main, ["--help"]).output
    assert f"  {option.opts[0]} " in said


@pytest.mark.parametrize("field", FIELDS)
def test_every_setting_is_in_the_documentation_with_its_option_and_default(field: str):
    """One row each; those of the harness share one."""
    row = next(line for line in DOCUMENT.splitlines() if re.match(rf"\| (`\w+`, )?`{field}`[ ,]", line) and "`--" in line)
    default = getattr(server.ServerConfig(), field)
    assert f"`{option_of(field).opts[0]}`" in row
    assert f"`{default}`" in row or default == ""


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("pool", 2.5, "a whole number, 1 to 10000"),
        ("pool", "3", "a whole number, 1 to 10000"),
        ("pool", True, "a whole number, 1 to 10000"),
        ("port", None, "a whole number, 0 to 65535"),
        ("admin_port", "9", "a whole number, 0 to 65535, or None"),
        ("drain_s", "x", "a number, 0 to 1000000"),
        ("host", "", "an address or a name"),
        ("host", 3, "an address or a name"),
        ("shared_pool", "no", "True or False"),
        ("label", 5, "text"),
        ("trusted_proxies", None, "text"),
    ],
)
def test_a_setting_of_a_wrong_kind_is_named_with_what_is_allowed(field: str, value: Any, allowed: str):
    """Where it is given, not somewhere inside."""
    with pytest.raises(ValueError, match=re.escape(f"{field} is {value!r}; allowed is {allowed}")):
        server.ServerConfig(**{field: value})


def test_the_row_file_may_be_given_as_text(tmp_path: Path):
    """Also where it cannot be had."""
    path = tmp_path / "tasks.rows"
    assert server.ServerConfig(rows=str(path)).rows == path  # type: ignore[arg-type]
    with server.running(server.FastAPI(), rows=str(path)) as running:
        assert running.port
    with pytest.raises(server.CannotServe, match="File exists"), server.running(server.FastAPI(), rows=str(path)):
        pass
