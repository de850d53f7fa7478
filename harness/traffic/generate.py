"""Requests made from an OpenAPI document: a process of its own, which ends before the load begins.

`python -m harness.traffic.generate` reads one line of JSON (a `Wish`) and answers with one line: the templates of a load job, and
what was left out. Status 2 and a line on standard error: what was asked for cannot be had.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import tempfile
import urllib.error
import urllib.request
import warnings
from pathlib import Path
from typing import Any, TypedDict

import requests
import yaml
from hypothesis import HealthCheck, Phase, configuration, given, seed, settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Of libraries that it could use and that are not here.
    import schemathesis
from schemathesis.core.errors import LoaderError
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.transport.requests import REQUESTS_TRANSPORT

from harness.load.job import MADE_BY_THE_SENDER
from harness.traffic.operations import chosen, operations_of
from harness.traffic.plausible import narrowed, with_placeholders

__all__ = ["Wish", "main"]

PLACES = ("/openapi.json", "/api/openapi.json", "/api/v1/openapi.json", "/docs/openapi.json")
"""Where an app's schema is looked for."""

TIMEOUT_S = 10.0
BOUNDARY = "afterload-part"
NAME_BYTES = 64
PATH = re.compile(r"/([!-.0-~][!-~]*)?")
# What the client makes of a request by itself; none of it is in the schema.
OF_THE_CLIENT = MADE_BY_THE_SENDER | {"user-agent", "accept-encoding", "accept", "x-schemathesis-testcaseid"}


class Wish(TypedDict):
    """What is wanted."""

    source: str  # "auto", a URL or a file
    base_url: str  # of the started server
    only: list[str]
    exclude: list[str]
    header_names: list[str]  # of headers that every request gets later on
    seed: int
    variants: int  # of each operation, at most


class CannotGenerateError(Exception):
    """What was asked for cannot be had; the text says why."""


def main() -> int:
    """Follows the one wish on standard input."""
    logging.disable(logging.CRITICAL)
    wish: Wish = json.loads(sys.stdin.readline())
    with tempfile.TemporaryDirectory(prefix="afterload-") as folder:
        # Hypothesis would leave a folder of its own in the user's.
        configuration.set_hypothesis_home_dir(folder)
        try:
            answer = _generate(wish)
        except (CannotGenerateError, ValueError, LoaderError) as error:
            sys.stderr.write(f"error: {error}\n")
            return 2
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


def _generate(wish: Wish) -> dict[str, Any]:
    where, document = _document(wish["source"], wish["base_url"])
    if not isinstance(document, dict) or "paths" not in document:
        raise CannotGenerateError(f"{where} is no OpenAPI document: it has no paths")
    wanted = chosen(operations_of(document), wish["only"], wish["exclude"])
    narrow, wide = _operations(narrowed(document)), _operations(document)
    templates: list[dict[str, Any]] = []
    left_out: list[dict[str, str]] = []
    base_path = _base_path(document)
    for method, path in wanted:
        name = f"{method} {base_path}{path}"
        try:
            variants = _variants(narrow.get((method, path)), wish, last=False)
            # A narrower schema may leave nothing where several hold at once.
            variants = variants or _variants(wide.get((method, path)), wish, last=True)
        except _NoVariantsError as error:
            left_out.append({"operation": name, "why": str(error)})
            continue
        for variant in variants:
            variant["path"] = base_path + variant["path"]
            short = name.encode()[:NAME_BYTES].decode(errors="ignore")
            templates.append({"name": short, "method": method, "weight": 1.0 / len(variants), **variant})
    if not templates:
        reasons = "; ".join(f"{each['operation']}: {each['why']}" for each in left_out[:3])
        raise CannotGenerateError(f"{where}: no request could be made from it ({reasons})")
    return {"templates": templates, "left_out": left_out, "source": where}


def _document(source: str, base_url: str) -> tuple[str, Any]:
    if source != "auto":
        if re.match(r"https?://", source):
            return source, _parsed(source, _fetched(source))
        try:
            return source, _parsed(source, Path(source).read_bytes())
        except OSError as error:
            raise CannotGenerateError(f"cannot read the OpenAPI document {source}: {error.strerror}") from None
    tried = []
    for place in PLACES:
        try:
            return f"{place} of the app", _parsed(place, _fetched(base_url + place))
        except CannotGenerateError as error:
            tried.append(str(error).removeprefix("GET ").replace(base_url, ""))
    raise CannotGenerateError(
        f"the app shows no OpenAPI document ({'; '.join(tried)}): say where with --from-openapi URL or FILE"
    )


def _fetched(url: str) -> bytes:
    try:
        # No proxy: what is asked is on this machine, or was named.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=TIMEOUT_S) as answer:
            data: bytes = answer.read()
            return data
    except urllib.error.HTTPError as error:
        raise CannotGenerateError(f"GET {url}: status {error.code}") from None
    except (OSError, ValueError) as error:
        raise CannotGenerateError(f"GET {url}: {getattr(error, 'reason', error)}") from None


def _parsed(where: str, data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        if data.lstrip().startswith((b"{", b"[", b"<")):
            raise CannotGenerateError(f"{where}: neither JSON nor YAML") from None
    try:
        return yaml.safe_load(data)
    except yaml.YAMLError:
        raise CannotGenerateError(f"{where}: neither JSON nor YAML") from None


def _base_path(document: dict[str, Any]) -> str:
    """The path of its first server (OpenAPI 3), or its basePath (Swagger 2)."""
    servers = document.get("servers")
    url = servers[0].get("url", "") if isinstance(servers, list) and servers and isinstance(servers[0], dict) else ""
    path = re.sub(r"^[a-z]+://[^/]*", "", url) if url else str(document.get("basePath", ""))
    return "" if "{" in path else path.rstrip("/")


class _NoVariantsError(Exception):
    """Nothing can be sent to an operation; the text says why."""


def _operations(document: dict[str, Any]) -> dict[tuple[str, str], Any]:
    schema = schemathesis.openapi.from_dict(document)
    generation = schema.config.generation
    generation.allow_x00, generation.codec, generation.with_security_parameters = False, "ascii", False
    generation.allow_extra_parameters = False
    found = (each.ok() for each in schema.get_all_operations() if isinstance(each, Ok))
    return {(operation.method.upper(), operation.path): operation for operation in found}


def _variants(operation: Any, wish: Wish, *, last: bool) -> list[dict[str, Any]]:
    """Different requests of one operation, the same for the same seed; examples of the document first.

    None at all is an error if this is the `last` try.
    """
    seen: dict[str, dict[str, Any]] = {}

    def keep(case: Any) -> None:
        variant = _template(case, wish["header_names"])
        if variant is not None:
            seen.setdefault(json.dumps(variant, sort_keys=True), variant)

    why = "what its schema allows cannot be sent as text"
    if operation is None:
        why = "its description in the schema is not valid"
    else:
        try:
            for strategy in operation.get_strategies_from_examples():
                _draw(strategy, 1, wish["seed"], keep)
            # The first ones that are drawn are the smallest, and many are alike.
            _draw(operation.as_strategy(generation_mode=GenerationMode.POSITIVE), 3 * wish["variants"], wish["seed"], keep)
        except Exception as error:  # noqa: BLE001 - one operation whose schema is wrong leaves the others
            why = f"{type(error).__name__}: {' '.join(str(error).split()).partition('. ')[0][:300]}"
    if last and not seen:
        raise _NoVariantsError(why)
    return list(seen.values())[: wish["variants"]]


def _draw(strategy: Any, count: int, number: int, keep: Any) -> None:
    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(strategy)
    def draw(case: Any) -> None:
        keep(case)

    draw()


def _template(case: Any, header_names: list[str]) -> dict[str, Any] | None:
    """The case as path, headers and body; None if it can't be sent as text."""
    left_out = OF_THE_CLIENT | {name.lower() for name in header_names}
    given_ = REQUESTS_TRANSPORT.serialize_case(case, base_url="http://app")
    kept = {
        key: given_[key] for key in ("method", "url", "headers", "data", "files", "json", "params", "cookies") if key in given_
    }
    prepared = requests.Request(**kept).prepare()
    content_type = str(prepared.headers.get("Content-Type", ""))
    body = prepared.body or ""
    if isinstance(body, (bytes, bytearray)):
        try:
            body = bytes(body).decode()
        except UnicodeDecodeError:
            return None
    if not isinstance(body, str):
        return None
    if content_type.partition(";")[0].endswith("json") and body:
        body = json.dumps(_whole(json.loads(body)))
    if boundary := re.search(r"boundary=([^;]+)", content_type):
        content_type = content_type.replace(boundary[1], BOUNDARY)
        body = body.replace(boundary[1], BOUNDARY)
    path = with_placeholders(prepared.path_url)
    if not PATH.fullmatch(path):
        return None
    own = {name: with_placeholders(str(value)) for name, value in prepared.headers.items() if name.lower() not in left_out}
    if content_type and "content-type" not in left_out:
        own["Content-Type"] = content_type
    return {"path": path, "headers": own, "body": with_placeholders(body)}


def _whole(value: Any) -> Any:
    """The same JSON value with 2 where 2.0 was: both are integers to JSON Schema, and not to everybody."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    return [_whole(each) for each in value] if isinstance(value, list) else value


if __name__ == "__main__":
    sys.exit(main())
