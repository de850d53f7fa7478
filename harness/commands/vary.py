"""Which keys of a plan `--vary` takes: those that the options of a run are for, read as these are."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Any, Final

import click

from harness.compare.grid import Key
from harness.plan import Plan

__all__ = ["keys_of"]

_NOT_VARIED: Final = frozenset(
    {"seed", "slos", "allow", "settings", "requests", "openapi_headers", "expect_loads", "join_bind", "join_s", "join_rows"}
)
"""What makes no configuration: the seed is that of the block, limits judge, settings are named one by one, and load machines come
to one run."""


def keys_of(parameters: Sequence[click.Parameter]) -> dict[str, Key]:
    """By the names of a plan and those of the options."""
    found: dict[str, Key] = {}
    for parameter in parameters:
        name = parameter.name
        if not isinstance(parameter, click.Option) or name not in Plan.model_fields or name in _NOT_VARIED:
            continue
        key = Key(name, _reader(parameter), is_list=parameter.multiple)
        found[name] = key
        for option in parameter.opts:
            found.setdefault(option.removeprefix("--").replace("-", "_"), key)
    found["command"] = Key("command", _command)
    return found


def _reader(option: click.Option) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return option.type.convert(text, option, None)
        except click.BadParameter as error:
            raise ValueError(error.message) from None

    return read


def _command(text: str) -> tuple[str, ...]:
    words = tuple(shlex.split(text))
    if not words:
        msg = "no command"
        raise ValueError(msg)
    return words
