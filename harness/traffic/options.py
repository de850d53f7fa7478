"""The options that say what is sent to one's own app. Each --body, --header and --weight belongs to the request before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from harness.numbers import Count, Number
from harness.traffic.request import RequestPlan, parse_header, parse_request

__all__ = ["TrafficCommand", "traffic_options"]

_REQUEST, _OPENAPI, _BODY, _HEADER, _WEIGHT = "_request", "openapi", "_body", "_header", "_weight"
_OPTION_NAMES = {_BODY: "--body", _HEADER: "--header", _WEIGHT: "--weight"}

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def traffic_options(command: Decorated) -> Decorated:
    """Adds the options to a function that becomes a TrafficCommand; it is called with the keys of the plan that they are for."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class TrafficCommand(click.Command):
    """A command whose options about requests keep the order in which they were given.

    click gives options grouped by name. Its parser knows the order: the values of each name are handed out again along it.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses as click does, then puts the requests together."""
        _, _, order = self.make_parser(ctx).parse_args(list(args))
        rest = super().parse_args(ctx, args)
        # What click made of each value (e.g., a number), not what was typed.
        made: dict[str, list[Any]] = {name: list(ctx.params.pop(name, ())) for name in (_REQUEST, *_OPTION_NAMES)}
        ctx.params["requests"], ctx.params["openapi_headers"] = _in_order(order, made, ctx)
        return rest


def _in_order(
    order: list[click.Parameter], made: Mapping[str, list[Any]], ctx: click.Context
) -> tuple[tuple[dict[str, Any], ...], dict[str, str] | None]:
    values = {name: iter(each) for name, each in made.items()}
    requests: list[dict[str, Any]] = []
    openapi_headers: dict[str, str] | None = None
    belongs_to = ""
    for parameter in order:
        name = parameter.name
        if name == _REQUEST:
            belongs_to = _REQUEST
            requests.append(_request(next(values[_REQUEST]), ctx))
        elif name == _OPENAPI:
            belongs_to, openapi_headers = _OPENAPI, {}
        elif name in _OPTION_NAMES:
            value, option = next(values[name]), _OPTION_NAMES[name]
            if not belongs_to:
                message = (
                    f"{option} belongs to the --request before it, and there is none; write --request 'POST /orders' {option} ..."
                )
                raise click.UsageError(message, ctx)
            if belongs_to == _REQUEST:
                _add(requests[-1], name, value, ctx)
            elif name == _HEADER:
                assert openapi_headers is not None
                openapi_headers.update([_header(value, ctx)])
            else:
                raise click.UsageError(f"{option} belongs to a --request; what --from-openapi sends is made from the schema", ctx)
    for request in requests:
        _check(request, ctx)
    return tuple(requests), openapi_headers or None


def _request(text: str, ctx: click.Context) -> dict[str, Any]:
    try:
        method, path = parse_request(text)
    except ValueError as error:
        raise click.UsageError(f"--request {error}", ctx) from None
    return {"method": method, "path": path}


def _add(request: dict[str, Any], name: str, value: Any, ctx: click.Context) -> None:
    what = f"--request '{request['method']} {request['path']}'"
    if name == _HEADER:
        header, content = _header(value, ctx)
        if header.lower() in {known.lower() for known in request.get("headers", {})}:
            raise click.UsageError(f"{what} has two headers {header}", ctx)
        request.setdefault("headers", {})[header] = content
        return
    key = "body" if name == _BODY else "weight"
    if key in request:
        raise click.UsageError(f"{what} has two --{key}: each belongs to the --request before it", ctx)
    request[key] = _body(value, ctx) if name == _BODY else value


def _header(text: str, ctx: click.Context) -> tuple[str, str]:
    try:
        return parse_header(text)
    except ValueError as error:
        name, colon, _ = text.partition(":")
        raise click.UsageError(f"--header{' ' + name if colon else ''}: {error}", ctx) from None


def _body(text: str, ctx: click.Context) -> str:
    if not text.startswith("@"):
        return text
    if text.startswith("@@"):
        return text[1:]
    path = Path(text[1:])
    try:
        # As bytes, for reading as text would turn the CRLFs of a multipart body into LFs, which servers refuse.
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise click.UsageError(
            f"--body {text}: cannot read the file {path}: {error.strerror} (a body that begins with @ is written @@...)", ctx
        ) from None
    except UnicodeDecodeError as error:
        raise click.UsageError(f"--body {text}: the file is no UTF-8 text (byte {error.start}); bodies are text", ctx) from None


def _check(request: dict[str, Any], ctx: click.Context) -> None:
    try:
        RequestPlan.model_validate(request)
    except ValidationError as error:
        said = error.errors(include_url=False, include_context=False)[0]
        key = f" {said['loc'][0]}:" if said["loc"] and said["type"] != "value_error" else ""
        message = said["msg"].removeprefix("Value error, ")
        raise click.UsageError(f"--request '{request['method']} {request['path']}':{key} {message}", ctx) from None


_OPTIONS = (
    click.option(
        "--request",
        _REQUEST,
        multiple=True,
        metavar="'METHOD /PATH'",
        help="A request to one's own app; {op} becomes the operation id, {n} its number; repeatable.",
    ),
    click.option("--body", _BODY, multiple=True, metavar="TEXT|@FILE", help="Body of the --request before it."),
    click.option(
        "--header",
        _HEADER,
        multiple=True,
        metavar="'NAME: VALUE'",
        help="Header of the --request (or --from-openapi) before it; $NAME in it is taken from the environment; repeatable.",
    ),
    click.option(
        "--weight", _WEIGHT, multiple=True, type=Number(), metavar="N", help="How often, beside the others.  [default: 1]"
    ),
    click.option(
        "--from-openapi",
        _OPENAPI,
        metavar="auto|URL|FILE",
        help="Make requests from the app's OpenAPI schema; auto: read it from the started server.",
    ),
    click.option(
        "--only",
        "openapi_only",
        multiple=True,
        metavar="'METHOD /PATH'",
        help="Of the schema, just this operation (* fits anything); repeatable.",
    ),
    click.option(
        "--exclude",
        "openapi_exclude",
        multiple=True,
        metavar="'METHOD /PATH'",
        help="Of the schema, not this operation; repeatable.  [default: those that delete]",
    ),
    click.option("--locustfile", metavar="FILE", help="Send what the users of a Locust file send (closed model)."),
    click.option(
        "--users", type=Count(), metavar="N", help="Users that each wait for an answer before the next request (closed model)."
    ),
    click.option("--spawn-rate", type=Number(), metavar="R", help="Users that start per second.  [default: all at once]"),
)
