"""An OpenAPI document made narrower: what fits the narrow one fits the given one, and looks like what people send. Pure.

A generator of test data looks for trouble: control characters, the year 160, numbers with seventeen digits, properties that
nobody asked for. All of that is valid, and none of it is load. So strings become words, numbers small and whole, lists short; and
what identifies something becomes `{op}`, `{uuid}` or `{n}`, different in each request, wherever each of those is allowed.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["narrowed", "with_placeholders"]

_METHODS = ("get", "post", "put", "patch", "delete", "head", "options", "trace")
_IDENTIFIES = re.compile(
    r"(^|[_-])(id|key|name|username|login|email|mail|ref|reference|code|slug|sku|number|token|title)$|[a-z](Id|Key|Ref)$"
)
_COUNTS = re.compile(r"(^|[_-])(id|number)$|[a-z]Id$")
_OPS = ("0123456789abcdef", "0000000000000001", "abcdefabcdefabcd", "1234567890123456")  # of 16 hexadecimal digits, odd ones
# What stands for a placeholder while values are generated and encoded: braces would be quoted, or not allowed at all.
_OP = "feedfacefeedface"
_UUID = "feedface-feed-4ace-8000-00000000face"
_NUMBER = 4107282861
_LARGE = 10_000_000  # requests that a run may have
_TOKENS = ((re.compile(_UUID), "{uuid}"), (re.compile(_OP), "{op}"), (re.compile(rf"(?<![\w.]){_NUMBER}(\.0)?(?![\w.])"), "{n}"))
_FORMATS = {
    "email": r"^[a-z]{3,8}[0-9]{2}@example\.com$",
    "date-time": r"^20[12][0-9]-0[1-9]-[01][1-9]T[01][0-9]:[0-5][0-9]:[0-5][0-9]Z$",
    "date": r"^20[12][0-9]-0[1-9]-[01][1-9]$",
    "uri": r"^https://example\.com/[a-z]{3,10}$",
    "password": r"^[A-Za-z]{6,8}-[0-9]{4,6}$",
}
_WORD, _WORDS = "[a-z]", "[a-z ]"
_LONGEST = 24
_MOST_ITEMS = 3
_LARGEST = 1000
# Where these are, two schemas hold at once, and each must leave room for the other.
_TOGETHER = ("allOf", "not", "if", "$ref", "dependentSchemas", "unevaluatedProperties")


def narrowed(document: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the document with narrower schemas for what is sent; what is answered is left alone."""
    narrow: dict[str, Any] = copy.deepcopy(dict(document))
    components = narrow.get("components")
    if isinstance(components, dict):
        shared = _names_within_all_of(narrow)
        for name, schema in _items(components.get("schemas")):
            if name not in shared:
                _narrow(schema, "")
        for parameter in _values(components.get("parameters")):
            _narrow_parameter(parameter)
        for body in _values(components.get("requestBodies")):
            _narrow_body(body)
    for item in _values(narrow.get("paths")):
        operations = [operation for method, operation in item.items() if method in _METHODS and isinstance(operation, dict)]
        for owner in (item, *operations):
            for parameter in owner.get("parameters") or ():
                _narrow_parameter(parameter)
        for operation in operations:
            _narrow_body(operation.get("requestBody"))
    return narrow


def with_placeholders(text: str) -> str:
    """What was generated from a narrowed document, with the placeholders in their places."""
    for token, placeholder in _TOKENS:
        text = token.sub(placeholder, text)
    return text


def _narrow_parameter(parameter: Any) -> None:
    if isinstance(parameter, dict) and "example" not in parameter and "examples" not in parameter:
        _narrow(parameter.get("schema"), str(parameter.get("name", "")))


def _narrow_body(body: Any) -> None:
    for media in _values(body.get("content") if isinstance(body, dict) else None):
        _narrow(media.get("schema"), "")


def _narrow(schema: Any, name: str) -> None:
    """Narrows a schema in place. `name` is that of the property or parameter that it describes."""
    if not isinstance(schema, dict) or any(key in schema for key in _TOGETHER):
        return
    options = schema.get("anyOf")
    if isinstance(options, list) and any(_is_of(option, "number", "integer") for option in options):
        # A number that may be written as a string (a Decimal): its schema seldom says that not every string will do.
        schema["anyOf"] = [option for option in options if not _is_of(option, "string") or "enum" in option or "const" in option]
    for key in ("anyOf", "oneOf"):
        # Of alternatives that exclude each other, a narrower one still excludes the others.
        for option in schema.get(key) or ():
            _narrow(option, name)
    if any(key in schema for key in ("enum", "const", "anyOf", "oneOf")):
        return
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), None) if len(kind) == 2 and "null" in kind else None
    match kind:
        case "string":
            _narrow_string(schema, name)
        case "integer" | "number":
            _narrow_number(schema, name)
        case "array":
            _narrow(schema.get("items"), "")
            schema.setdefault("maxItems", max(int(schema.get("minItems", 0)), _MOST_ITEMS))
        case "object":
            _narrow_object(schema)


def _is_of(schema: Any, *types: str) -> bool:
    return isinstance(schema, dict) and schema.get("type") in types


def _narrow_object(schema: dict[str, Any]) -> None:
    properties = schema.get("properties")
    for name, each in _items(properties):
        _narrow(each, name)
    extra = schema.get("additionalProperties", True)
    if properties and extra is True and "patternProperties" not in schema and "minProperties" not in schema:
        schema["additionalProperties"] = False
    elif isinstance(extra, dict):
        _narrow(extra, "")


def _narrow_number(schema: dict[str, Any], name: str) -> None:
    low = _bound(schema, "minimum", "exclusiveMinimum")
    high = _bound(schema, "maximum", "exclusiveMaximum")
    takes_any = (low is None or low <= 0 or (low == 1 and "minimum" in schema)) and (high is None or high > _LARGE)
    if takes_any and _COUNTS.search(name) and schema.get("type") != "number" and "multipleOf" not in schema:
        for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            schema.pop(key, None)
        schema["enum"] = [_NUMBER]
        return
    if low is None and high is None:
        schema["minimum"], schema["maximum"] = low, high = 0, _LARGEST
    elif high is None and low is not None:
        schema["maximum"] = high = low + _LARGEST
    elif low is None and high is not None:
        schema["minimum"] = low = min(0, high - _LARGEST)
    if schema.get("type") == "number" and low is not None and high is not None and high - low >= _MOST_ITEMS:
        schema["type"] = "integer"


def _bound(schema: Mapping[str, Any], inclusive: str, exclusive: str) -> float | None:
    # In OpenAPI 3.0 the exclusive one is a boolean beside the inclusive one.
    for key in (inclusive, exclusive):
        value = schema.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return value
    return None


def _narrow_string(schema: dict[str, Any], name: str) -> None:
    low, high = int(schema.get("minLength", 0)), schema.get("maxLength")
    format_, pattern = schema.get("format"), schema.get("pattern")
    if format_ in {"binary", "byte"} or "contentMediaType" in schema or "contentEncoding" in schema:
        return
    if _IDENTIFIES.search(name):
        if format_ == "uuid" and pattern is None:
            schema["enum"] = [_UUID]
            return
        if _takes_any_op(format_, pattern, low, high):
            schema["enum"] = [f"{_OP}@example.com" if format_ == "email" else _OP]
            # An example of each kind of operation id was tried; what is generated is none of them.
            schema.pop("pattern", None)
            return
    if pattern is not None:
        return
    if format_ in _FORMATS and low <= 8 and (high is None or int(high) >= 24):
        schema.pop("format", None)
        schema["pattern"] = _FORMATS[format_]
    elif format_ is None:
        longest = max(low, min(int(high) if high is not None else _LONGEST, _LONGEST))
        shortest = min(max(low, 3), longest)
        if longest > 0:
            # Not a space at either end: many apps strip them, and then find the rest too short.
            inner = f"{_WORDS}{{{max(shortest - 2, 0)},{max(longest - 2, 0)}}}{_WORD}" if longest > 1 else ""
            schema["pattern"] = f"^{_WORD}{inner}$" if shortest > 1 or not inner else f"^{_WORD}({inner})?$"


def _takes_any_op(format_: Any, pattern: Any, low: int, high: Any) -> bool:
    length = len(_OP) + (len("@example.com") if format_ == "email" else 0)
    if format_ not in {None, "email"} or low > length or (high is not None and int(high) < length):
        return False
    if pattern is None:
        return True
    try:
        return format_ is None and all(re.search(str(pattern), op) is not None for op in _OPS)
    except re.error:
        return False


def _names_within_all_of(document: Mapping[str, Any]) -> set[str]:
    """Schemas that hold together with others, which a narrower one could contradict."""
    found: set[str] = set()

    def walk(node: Any, is_within: bool) -> None:
        if isinstance(node, dict):
            reference = node.get("$ref")
            if is_within and isinstance(reference, str):
                found.add(reference.rpartition("/")[2])
            for key, value in node.items():
                walk(value, key in {"allOf", "not", "if"} or (is_within and key not in {"properties", "items"}))
        elif isinstance(node, list):
            for each in node:
                walk(each, is_within)

    walk(document, False)
    return found


def _items(node: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(str(key), value) for key, value in node.items() if isinstance(value, dict)] if isinstance(node, dict) else []


def _values(node: Any) -> list[dict[str, Any]]:
    return [value for _, value in _items(node)]
