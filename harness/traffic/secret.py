"""Header values that nobody else should read: taken from the environment when sent, and never written. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

__all__ = ["Mask", "has_password", "is_secret", "refers", "resolve"]

_NAMES = re.compile(r"auth|cookie|token|secret|passw|credential|session|signature|api-?key|access-?key", re.IGNORECASE)
_USERINFO = re.compile(r"[A-Za-z][\w+.-]*://[^\s/@:?#]*:(?!\$)[^\s/@?#]+@")
_REFERENCE = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")


def is_secret(header: str) -> bool:
    """True for the headers that carry credentials, by their name."""
    return _NAMES.search(header) is not None


def refers(value: str) -> bool:
    """True if a part of it is taken from the environment."""
    return any(match[1] is None for match in _REFERENCE.finditer(value))


def has_password(text: str) -> bool:
    """True if there is a URL in it that carries a password: `postgresql://me:secret@host/db`, and not `://me:$PASSWORD@`."""
    return _USERINFO.search(text) is not None


def resolve(header: str, value: str, environment: Mapping[str, str]) -> str:
    """`value` with `$NAME` and `${NAME}` replaced by what the environment says, and `$$` by a dollar sign.

    Raises ValueError, without the value, for a variable that is not set.
    """

    def replace(match: re.Match[str]) -> str:
        if match[1]:
            return "$"
        name = match[2] or match[3]
        if name not in environment:
            msg = f"the header {header} takes its value from the environment variable {name}, which is not set; export it first"
            if not is_secret(header) or "$" in value.replace(match[0], "", 1):
                msg += " (a dollar sign that is meant as such is written $$)"
            raise ValueError(msg)
        return environment[name]

    return _REFERENCE.sub(replace, value)


class Mask:
    """Turns the literal secrets of one plan into references to variables of the environment, so that it can be written."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        """`taken`: variables that mean something else."""
        self._variables: dict[str, str] = {}  # variable -> the secret value that it stands for
        self._taken = set(taken)

    @property
    def variables(self) -> dict[str, str]:
        """What must be in the environment to run the plan again."""
        return dict(self._variables)

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The same headers, without secrets."""
        return {name: self._value(name, value) for name, value in headers.items()}

    def _value(self, header: str, value: str) -> str:
        if not value or not is_secret(header) or refers(value):
            return value
        base = "AFTERLOAD_" + re.sub(r"[^A-Za-z0-9]", "_", header).upper()
        number = 1
        while True:
            variable = base if number == 1 else f"{base}_{number}"
            if variable not in self._taken and self._variables.setdefault(variable, value) == value:
                return f"${variable}"
            number += 1
