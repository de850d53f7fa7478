"""Requests ready to be filled: a template is split around its placeholders once, so that a send only joins."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.load.job import RequestTemplate

__all__ = ["OP_HEADER", "ReadyTemplate", "Request"]

OP_HEADER = "X-Op-Id"
OP = "{op}"
NUMBER = "{n}"
UUID = "{uuid}"
NUMBER_BITS = (1 << 32) - 1  # of an operation id: the number of the request in the run, from 1

_PLACEHOLDER = re.compile(r"(\{op\}|\{n\}|\{uuid\})")


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it goes to the client."""

    path: str
    headers: dict[str, str]
    body: bytes


class _Text:
    """A text with placeholders."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._parts = _PLACEHOLDER.split(text)
        self.is_fixed = len(self._parts) == 1

    def fill(self, words: dict[str, str]) -> str:
        """The text with each placeholder's word in its place."""
        if self.is_fixed:
            return self._text
        return "".join([words.get(part, part) for part in self._parts])


class ReadyTemplate:
    """A request template whose constant parts were prepared in advance."""

    def __init__(self, template: RequestTemplate, route: int) -> None:
        """`route` is the id of the template's name in the row file. Raises OSError if the body's file can't be read."""
        self.name = template.name
        self.method = template.method
        self.route = route
        self._path = _Text(template.path)
        self._body = _Text(template.body)
        # A file is sent as it is: in two megabytes of a picture, anything may look like a placeholder.
        self._fixed_body = template.body.encode() if template.body_file is None else template.body_file.read_bytes()
        headers = {name: _Text(value) for name, value in template.headers.items()}
        self._fixed_headers = {name: template.headers[name] for name, text in headers.items() if text.is_fixed}
        self._headers = [(name, text) for name, text in headers.items() if not text.is_fixed]
        texts = (template.path, template.body, *template.headers.values())
        self._needs_words = any(placeholder in text for text in texts for placeholder in (NUMBER, UUID))

    def fill(self, op: int) -> Request:
        """The request of operation `op`; its header X-Op-Id carries the id as 16 hex digits."""
        digits = f"{op:016x}"
        words = {OP: digits}
        if self._needs_words:
            words |= {NUMBER: str(op & NUMBER_BITS), UUID: as_uuid(digits)}
        headers = {OP_HEADER: digits, **self._fixed_headers}
        for name, text in self._headers:
            headers[name] = text.fill(words)
        body = self._fixed_body if self._body.is_fixed else self._body.fill(words).encode()
        return Request(path=self._path.fill(words), headers=headers, body=body)


def as_uuid(digits: str) -> str:
    """A UUID (of version 4, by its form) with all of an operation id's 16 digits in it."""
    return f"{digits[:8]}-{digits[8:12]}-4000-8000-00000000{digits[12:]}"
