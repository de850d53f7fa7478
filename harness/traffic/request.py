"""One kind of request to someone's own app, as it is given by options or in a plan. Values and rules; no file, no environment."""

from __future__ import annotations

import json
import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from harness.load.job import HEADER_VALUE, MADE_BY_THE_SENDER, TOKEN

__all__ = ["METHODS", "PLACEHOLDERS", "RequestPlan", "parse_header", "parse_request"]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
PLACEHOLDERS = {"{op}": "feedfacefeedface", "{uuid}": "feedface-feed-4000-8000-00000000face", "{n}": "1"}
"""What is filled in for each request, in path, headers and body, with an example: the operation id; a UUID made of it; its number
in the run, from 1.
"""

_PATH = re.compile(r"/([!-.0-~][!-~]*)?")
_JSON_LOOKS = ("{", "[", '"')
_NAME_BYTES = 64  # of a name in a row file


class RequestPlan(BaseModel):
    """A kind of request. Header values are as given: `$NAME` is not yet replaced by what the environment says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    path: str
    headers: dict[str, str] = Field(default={}, repr=False)  # An error that shows a plan must not show a secret.
    body: str = ""
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0

    @field_validator("method")
    @classmethod
    def _method_is_known(cls, method: str) -> str:
        if method.upper() not in METHODS:
            msg = f"{method!r} is no method that can be sent; there are {', '.join(METHODS)}"
            raise ValueError(msg)
        return method.upper()

    @field_validator("path")
    @classmethod
    def _path_can_be_sent(cls, path: str) -> str:
        if not path.startswith("/"):
            if "://" in path:
                msg = f"{path!r} is a whole address; give its path alone: load goes to the server that this run starts"
            else:
                msg = f"{path!r} does not begin with a slash; did you mean {'/' + path!r}?"
            raise ValueError(msg)
        if path.startswith("//"):
            msg = f"{path!r} begins with two slashes, which names another host"
            raise ValueError(msg)
        for placeholder in re.findall(r"\{[^{}]*\}", path):
            if placeholder not in PLACEHOLDERS:
                known = ", ".join(PLACEHOLDERS)
                msg = f"{path!r} has the placeholder {placeholder}; there are {known}, or write a value in its place"
                raise ValueError(msg)
        if not _PATH.fullmatch(path):
            odd = next(character for character in path if not "!" <= character <= "~")
            msg = f"{path!r} has the character {odd!r}, which must be percent-encoded, e.g., a space as %20"
            raise ValueError(msg)
        return path

    @field_validator("headers")
    @classmethod
    def _headers_can_be_sent(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            check_header(name, value)
        return headers

    @model_validator(mode="after")
    def _body_is_what_it_looks_like(self) -> RequestPlan:
        kind = self._content_type
        if kind is None:
            if not self._looks_like_json:
                return self
            _check_json(
                self.body, "the body looks like JSON and is not", "give a content-type with --header if it is meant to be so"
            )
        elif self.body and re.fullmatch(r"application/(.*\+)?json", kind.partition(";")[0].strip().lower()):
            _check_json(self.body, f"the body is no JSON, as its content type {kind} says", "correct the one or the other")
        return self

    @property
    def name(self) -> str:
        """How its rows are called."""
        return f"{self.method} {self.path}".encode()[:_NAME_BYTES].decode(errors="ignore")

    @property
    def sent_headers(self) -> dict[str, str]:
        """The headers, and for a JSON body of which nothing else was said, its content type."""
        if self._content_type is None and self._looks_like_json:
            return {"content-type": "application/json", **self.headers}
        return dict(self.headers)

    @property
    def _content_type(self) -> str | None:
        return next((value for name, value in self.headers.items() if name.lower() == "content-type"), None)

    @property
    def _looks_like_json(self) -> bool:
        return _fill(self.body).lstrip().startswith(_JSON_LOOKS)


def parse_request(text: str) -> tuple[str, str]:
    """Method and path of `POST /orders`. Raises ValueError."""
    parts = text.split()
    if len(parts) == 1 and parts[0].startswith("/"):
        msg = f"{text!r} has no method; write it as 'GET {parts[0]}'"
        raise ValueError(msg)
    if len(parts) != 2:
        msg = f"{text!r} is not a method and a path, such as 'POST /orders'"
        if len(parts) > 2:
            msg += "; a space within the path is written as %20"
        raise ValueError(msg)
    return parts[0], parts[1]


def parse_header(text: str) -> tuple[str, str]:
    """Name and value of `name: value`. Raises ValueError, which never holds the value: it may be a secret."""
    name, colon, value = text.partition(":")
    if not colon:
        msg = "a header is written as 'name: value'; this one has no colon"
        raise ValueError(msg)
    check_header(name.strip(), value.strip())
    return name.strip(), value.strip()


def check_header(name: str, value: str) -> None:
    """Raises ValueError if it can't be sent; the text never holds the value."""
    if not TOKEN.fullmatch(name):
        msg = f"{name!r} is no header name: letters, digits and hyphens, then a colon"
        raise ValueError(msg)
    if name.lower() in MADE_BY_THE_SENDER:
        msg = f"the header {name} is made by afterload for each request; leave it out"
        raise ValueError(msg)
    if not HEADER_VALUE.fullmatch(value):
        msg = f"the value of the header {name} has a line break or a character beyond Latin-1"
        raise ValueError(msg)


def _fill(text: str) -> str:
    for placeholder, example in PLACEHOLDERS.items():
        text = text.replace(placeholder, example)
    return text


def _check_json(body: str, problem: str, hint: str) -> None:
    filled = _fill(body)
    try:
        json.loads(filled)
    except json.JSONDecodeError as error:
        near = filled[max(0, error.pos - 20) : error.pos + 20]
        msg = f"{problem}: {error.msg} at line {error.lineno}, column {error.colno}, near {near!r}; {hint}"
        if PLACEHOLDERS["{op}"] in near:
            msg += '; {op} stands for letters and digits and needs quotes: "{op}"'
        raise ValueError(msg) from None
