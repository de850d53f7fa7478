"""Requests ready to be filled: a template is encoded and split around `{op}` once, so that a send only joins."""

from __future__ import annotations

from dataclasses import dataclass

from harness.load.job import RequestTemplate

__all__ = ["OP_HEADER", "ReadyTemplate", "Request"]

OP_HEADER = "X-Op-Id"
PLACEHOLDER = "{op}"


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it goes to the client."""

    path: str
    headers: dict[str, str]
    body: bytes


class ReadyTemplate:
    """A request template whose constant parts were encoded in advance."""

    def __init__(self, template: RequestTemplate, route: int) -> None:
        """`route` is the id of the template's name in the row file. Raises OSError if the body's file can't be read."""
        self.name = template.name
        self.method = template.method
        self.route = route
        self._path_parts = template.path.split(PLACEHOLDER)
        self._body_parts = template.body.encode().split(PLACEHOLDER.encode())
        if template.body_file is not None:
            # As it is: in two megabytes of a picture, anything may look like a placeholder.
            self._body_parts = [template.body_file.read_bytes()]
        self._fixed_headers = {name: value for name, value in template.headers.items() if PLACEHOLDER not in value}
        self._op_headers = [(name, value.split(PLACEHOLDER)) for name, value in template.headers.items() if PLACEHOLDER in value]

    def fill(self, op: int) -> Request:
        """The request of operation `op`; its header X-Op-Id carries the id as 16 hex digits."""
        digits = f"{op:016x}"
        headers = {OP_HEADER: digits, **self._fixed_headers}
        for name, parts in self._op_headers:
            headers[name] = digits.join(parts)
        return Request(path=digits.join(self._path_parts), headers=headers, body=digits.encode().join(self._body_parts))
