"""What is wrong with a plan, in words: the key, what was given, what is allowed, and what was probably meant. Pure functions."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel

__all__ = ["complaint"]

_BOUNDS: Final = {
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "less than {lt:g}",
    "less_than_equal": "{le:g} or less",
}
_WANTED: Final = {
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "string": "text in quotes",
    "tuple": 'a list in square brackets, e.g., ["..."]',
    "list": 'a list in square brackets, e.g., ["..."]',
    "dict": 'a table, e.g., {name = "value"}',
    "model": 'a table, e.g., {name = "value"}',
}
"""By the first word of pydantic's name of the error, in the terms of a TOML file."""


def complaint(problem: dict[str, Any], model: type[BaseModel]) -> str:
    """One problem that pydantic found in the values of `model`, as a sentence without its end."""
    path = problem["loc"]
    key = ".".join(map(str, path))
    kind, given, context = problem["type"], problem.get("input"), problem.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(key, str(path[-1]), _model_at(model, path[:-1]))
    if kind == "missing":
        return f"{key} is missing"
    if kind == "literal_error":
        return f"{key} is {given!r}; allowed is {context['expected']}{_meant(given, context['expected'])}"
    if kind in _BOUNDS:
        return f"{key} is {given}; allowed is {_BOUNDS[kind].format(**context)}"
    if kind == "finite_number":
        return f"{key} is {given}; allowed is a finite number"
    if kind == "string_pattern_mismatch":
        return f"{key} is {given!r}; it has to match {context['pattern']}"
    if kind == "value_error":
        return f"{key}: {context['error']}" if key else str(context["error"])
    wanted = _WANTED.get(kind.partition("_")[0])
    if wanted is not None:
        return f"{key} is {given!r}: {wanted} is wanted there"
    return f"{key} is {given!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _unknown(key: str, name: str, model: type[BaseModel] | None) -> str:
    known = list(model.model_fields) if model is not None else []
    where = "" if key == name else f" in {key.removesuffix('.' + name)}"
    near = difflib.get_close_matches(name, known, n=1)
    # A hyphen is what the option is written with.
    near = near or [each for each in known if each == name.replace("-", "_")]
    if near:
        return f"there is no key {name!r}{where}; did you mean {near[0]!r}?"
    return f"there is no key {name!r}{where}; there are {', '.join(known)}"


def _meant(given: Any, expected: str) -> str:
    allowed = [each.strip("'") for each in expected.replace(" or ", ", ").split(", ")]
    near = difflib.get_close_matches(str(given), allowed, n=1)
    return f"; did you mean {near[0]!r}?" if near and len(allowed) > 2 else ""


def _model_at(model: type[BaseModel], path: Sequence[Any]) -> type[BaseModel] | None:
    """The model of the table at a path such as ("requests", 0)."""
    found: type[BaseModel] | None = model
    for name in path:
        if isinstance(name, int):
            continue
        field = found.model_fields.get(name) if found is not None else None
        found = next(_models_in(field.annotation), None) if field is not None else None
    return found


def _models_in(annotation: Any) -> typing.Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models_in(part)
