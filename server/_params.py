"""Parameters and bodies of the straight way, from FastAPI's own analysis of a signature.

Only what is in order is understood here. A value that is missing or does not validate makes the request go the general way.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from typing import Any

from fastapi._compat import ModelField, field_annotation_is_sequence
from fastapi.dependencies.utils import (
    _get_param_aliases,
    _get_param_model,
    _is_json_field,
    _should_embed_body_fields,
    request_params_to_args,
)
from pydantic_core import from_json
from starlette.datastructures import Headers, QueryParams
from starlette.requests import cookie_parser

from server._specs import BodySpec, HandOver, ParamSpec

__all__ = ["Slot", "body_spec", "param_spec"]

Slot = tuple[str, ModelField]
"""A body parameter and the keyword under which it is handed to the endpoint."""

_SHARED = (str, int, float, bool, bytes, type(None))
_BARE_STR = ({"type": "str"}, {"type": "default", "schema": {"type": "str"}})
_SAME_FROM_JSON = frozenset(
    ("bool", "default", "dict", "float", "int", "list", "model", "model-field", "model-fields", "none", "nullable", "str")
)


def param_spec(name: str, source: str, parameter: ModelField) -> ParamSpec:
    """A parameter that is handed to the endpoint as keyword `name`."""
    info = parameter.field_info
    many = field_annotation_is_sequence(info.annotation)
    if source != "path" and (
        _get_param_model(parameter) is not None or _is_json_field(parameter) or (source == "cookie" and many)
    ):
        return ParamSpec(name, f"{source} whole", [], False, _from_whole(source, parameter), True, None, None)
    aliases = [alias for _, alias in _get_param_aliases(parameter)]
    make = _default(parameter)
    # A factory is not called before a request needs its value.
    default = None if make is None or info.default_factory is not None else parameter.get_default()
    shared = make is None or (info.default_factory is None and not info.validate_default and isinstance(default, _SHARED))
    adapter = parameter._type_adapter  # noqa: SLF001
    return ParamSpec(
        name=name,
        source=source,
        aliases=[alias.lower() for alias in aliases] if source == "header" else aliases,
        many=many and source != "path",
        validate=None if adapter.core_schema in _BARE_STR else adapter.validator.validate_python,
        required=make is None,
        default=default if shared else None,
        make_default=None if shared else make,
    )


def body_spec(slots: Sequence[Slot], *, embed: bool, lenient: bool) -> BodySpec | None:
    """The body of a route. None: it takes none."""
    if not slots:
        return None
    embed = embed or _should_embed_body_fields([field for _, field in slots])
    if len(slots) == 1 and not embed:
        ((name, parameter),) = slots
        return BodySpec(name, _body_validator(parameter), _default(parameter), lenient)
    makers = [(name, _default(parameter)) for name, parameter in slots]

    def absent() -> dict[str, Any]:
        return {name: make() for name, make in makers if make is not None}

    validate = _parts(slots) if embed else _copies(slots)
    return BodySpec(None, validate, None if any(make is None for _, make in makers) else absent, lenient)


def _default(parameter: ModelField) -> Callable[[], Any] | None:
    info = parameter.field_info
    if info.is_required():
        return None
    validator = parameter._type_adapter.validator  # noqa: SLF001

    def make() -> Any:
        value = copy.deepcopy(parameter.get_default())
        return validator.validate_python(value, from_attributes=True) if info.validate_default else value

    return make


def _from_whole(source: str, parameter: ModelField) -> Callable[[Any], Any]:
    # What a model, or another parameter out of the ordinary, takes from the whole is FastAPI's business.
    def validate(received: Any) -> Any:
        values, problems = request_params_to_args([parameter], _WHOLE[source](received))
        if problems:
            raise HandOver
        return values[parameter.name]

    return validate


def _cookies(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    cookies: dict[str, str] = {}
    for header in Headers(raw=headers).getlist("cookie"):
        cookies.update(cookie_parser(header))
    return cookies


_WHOLE: dict[str, Callable[[Any], Any]] = {
    "query": QueryParams,
    "header": lambda headers: Headers(raw=headers),
    "cookie": _cookies,
}


def _body_validator(parameter: ModelField) -> Callable[[bytes], Any]:
    # FastAPI parses JSON and validates Python values. pydantic can do both in one step, but then in its JSON mode, in which some
    # types take other values (a `date | str` takes a date, strict models take strings for dates). Only where both agree is that
    # step taken.
    validator = parameter._type_adapter.validator  # noqa: SLF001

    def validate(body: bytes) -> Any:
        return validator.validate_python(from_json(body), from_attributes=True)

    if not _same_from_json(parameter._type_adapter.core_schema):  # noqa: SLF001
        return validate
    validate_json = validator.validate_json

    def validate_fast(body: bytes) -> Any:
        # A whole number that no float can hold is infinite in JSON mode, and a mistake in Python mode.
        if len(body) > _DIGITS_OF_FLOAT and _HUGE_NUMBER.search(body):
            return validate(body)
        return validate_json(body)

    return validate_fast if _has_float(parameter._type_adapter.core_schema) else validate_json  # noqa: SLF001


_DIGITS_OF_FLOAT = 308
_HUGE_NUMBER = re.compile(rb"\d{309}")


def _has_float(schema: Any) -> bool:
    if isinstance(schema, dict):
        return schema.get("type") == "float" or any(map(_has_float, schema.values()))
    return isinstance(schema, list) and any(map(_has_float, schema))


def _parts(slots: Sequence[Slot]) -> Callable[[bytes], dict[str, Any]]:
    parts = [
        (name, [alias for alias, _ in _get_param_aliases(field)], field._type_adapter.validator, _default(field))  # noqa: SLF001
        for name, field in slots
    ]

    def validate(body: bytes) -> dict[str, Any]:
        received = from_json(body)
        if not isinstance(received, dict):
            raise HandOver
        values = {}
        for name, aliases, validator, make in parts:
            for alias in aliases:
                if alias in received:
                    values[name] = validator.validate_python(received[alias], from_attributes=True)
                    break
            else:
                if make is None:
                    raise HandOver
                values[name] = make()
        return values

    return validate


def _copies(slots: Sequence[Slot]) -> Callable[[bytes], dict[str, Any]]:
    # The endpoint and what it depends on take the same body, each whole.
    validators = [(name, field._type_adapter.validator) for name, field in slots]  # noqa: SLF001

    def validate(body: bytes) -> dict[str, Any]:
        received = from_json(body)
        return {name: validator.validate_python(received, from_attributes=True) for name, validator in validators}

    return validate


def _same_from_json(schema: Any) -> bool:
    """Whether pydantic's JSON mode takes the same values as its Python mode: JSON's own types, lax, and functions after them."""
    if isinstance(schema, dict) and "type" in schema:
        is_function = schema["type"] == "function-after" and schema["function"]["type"] == "no-info"
        settings = (schema, schema.get("config", {}))
        # A number that becomes a string is written as Python writes it only in Python mode.
        if any(said.get("strict") or said.get("coerce_numbers_to_str") for said in settings):
            return False
        if not (is_function or schema["type"] in _SAME_FROM_JSON):
            return False
        fields = schema["fields"].values() if schema["type"] == "model-fields" else ()
        if schema.get("extras_schema") or schema.get("custom_init") or schema.get("computed_fields"):
            return False
        inner = (schema[key] for key in ("schema", "items_schema", "keys_schema", "values_schema") if key in schema)
        return all(map(_same_from_json, (*inner, *fields)))
    return False
