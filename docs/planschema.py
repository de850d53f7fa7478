"""The JSON schema of plan.toml, for editors: from the model that afterload validates with, and the help of its options."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from harness.commands.run import run
from harness.plan import Plan

__all__ = ["described_keys", "plan_schema_text"]

_KEYS: Final[Mapping[str, str]] = {
    "scenario": "The name of a scenario, e.g., email, or a file of one's own. Either this or command.",
    "command": 'An app of one\'s own, as a list, e.g., ["uvicorn", "main:app", "--port", "{port}"]. Either this or scenario.',
    "engine": "What serves the scenario's app; command for an app of one's own.",
    "requests": "What is sent to an app of one's own.",
    "openapi_headers": "Headers of the requests that are made from the OpenAPI schema.",
    "max_in_flight": "Requests that one load process may have without an answer; more are shed, and counted.",
    "stages": "Instead of rate: '50 for 10s, 50..200 for 20s, 500 for 2s'; also pause, 3x(...). Or a list of these.",
    "replay": "A file of times at which to start requests: numbers, CSV, NDJSON, an access log.",
    "settings": 'Settings of the scenario, as text, e.g., {delay = "200ms"}.',
    "method": "The HTTP method.",
    "path": "The path, with {op}, {uuid} or {n} for what is different in each request.",
    "headers": "Headers; $NAME is taken from the environment.",
    "body": "The body, with the same placeholders.",
    "weight": "How often, beside the other requests.",
}
"""Keys that no option is named after, or whose help speaks of the command line."""

_OF_OPTIONS_ALONE: Final = re.compile(r"\s*\[default: .*\]$|; repeatable|; 'none' for [^.]*")
_IN_SECONDS: Final = " In seconds."


def plan_schema_text() -> str:
    """The schema as JSON."""
    schema = Plan.model_json_schema()
    _describe(schema["properties"])
    for model in schema.get("$defs", {}).values():
        _describe(model.get("properties", {}))
    # A plan may leave to the scenario what it likes, but has to name what is run.
    schema.pop("required", None)
    schema["anyOf"] = [{"required": ["scenario"]}, {"required": ["command"]}]
    schema["properties"]["engine"].pop("default")
    schema["properties"]["slos"]["examples"] = [["p99<50ms", "lost==0", "done_p99<5s", "p99<50ms@5s"]]
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A plan of afterload",
        "description": "afterload run --plan FILE. Durations in seconds.",
        **{key: value for key, value in schema.items() if key not in {"title", "description"}},
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def described_keys() -> dict[str, str]:
    """What each key means, by its name."""
    options = {parameter.name: getattr(parameter, "help", None) for parameter in run.params}
    found: dict[str, str] = {}
    for name in Plan.model_fields:
        text = _KEYS.get(name) or _OF_OPTIONS_ALONE.sub("", options.get(name) or "")
        found[name] = text.strip() + (_IN_SECONDS if name.endswith("_s") else "")
    return found


def _describe(properties: dict[str, dict[str, Any]]) -> None:
    described = described_keys() | {name: _KEYS[name] for name in _KEYS}
    for name, schema in properties.items():
        schema.pop("title", None)
        if text := described.get(name):
            schema["description"] = text
        # TOML has no null: what is not wanted is left out.
        kinds = [kind for kind in schema.pop("anyOf", []) if kind != {"type": "null"}]
        if len(kinds) == 1:
            schema.update(kinds[0])
        elif kinds:
            schema["anyOf"] = kinds
        if schema.get("default", "") is None:
            del schema["default"]
