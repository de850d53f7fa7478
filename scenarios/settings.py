"""What can be set about a scenario with `--set name=value`: each setting has a type, a unit, a range and words for all three."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

__all__ = ["BadSetting", "Setting", "Settings", "choice", "count", "duration", "resolve", "share", "size", "url"]

Value = float | int | str

_SECONDS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES: Final = {"B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


class BadSetting(ValueError):
    """A setting that does not exist, or a value that is not allowed."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that can be set. Made by `duration`, `share`, `count`, `size`, `choice` and `url` below."""

    name: str
    default: str
    help: str
    allowed: str  # in words, e.g., "0ms to 50s"
    parse: Callable[[str], Value]  # raises ValueError: "is 55s", or a sentence

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            msg = f"a setting is named by small letters, digits and _, not {self.name!r}"
            raise BadSetting(msg)
        try:
            self.read(self.default)
        except BadSetting as error:
            msg = f"the default of {error}"
            raise BadSetting(msg) from None

    def read(self, text: str) -> Value:
        """The value. Raises BadSetting naming the setting, what was given and what is allowed."""
        try:
            return self.parse(text.strip())
        except ValueError as error:
            said = str(error)
            msg = f"setting {self.name}{' ' if said.startswith('is ') else ': '}{said}; allowed is {self.allowed}"
            raise BadSetting(msg) from None


class Settings:
    """The settings of one run, as values: `settings.seconds("delay")`, `settings.share("fail")`, ..."""

    def __init__(self, values: Mapping[str, Value], *, seed: int = 1) -> None:
        self._values = dict(values)
        self.seed = seed

    def seconds(self, name: str) -> float:
        """A duration in seconds."""
        return float(self._values[name])

    def share(self, name: str) -> float:
        """A share, 0 to 1."""
        return float(self._values[name])

    def count(self, name: str) -> int:
        """A whole number."""
        return int(self._values[name])

    def bytes(self, name: str) -> int:
        """A size in bytes."""
        return int(self._values[name])

    def text(self, name: str) -> str:
        """A choice or an address; empty: none."""
        return str(self._values[name])

    def happens(self, name: str, op: str, attempt: int = 0) -> bool:
        """Whether operation `op` is one of the share `name`. It depends on seed and number alone: the same ones in every run."""
        return chance(self.seed, f"{name}/{attempt}", op) < self.share(name)


def chance(seed: int, what: str, op: str) -> float:
    """A number in [0, 1) that looks random and depends on nothing but the seed, `what`, and the number of the operation."""
    # The upper half of an operation id is the run's tag, another one in each run.
    number = int(op, 16) & 0xFFFF_FFFF
    # A cyclic redundancy check would be quicker and is linear: what happens at one attempt would tell what happens at the next.
    digest = hashlib.blake2b(f"{seed}/{what}/{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


def resolve(scenario: str, settings: Sequence[Setting], given: Mapping[str, str], seed: int) -> Settings:
    """All settings of a scenario. Raises BadSetting naming the setting, what was given and what is allowed."""
    known = {setting.name: setting for setting in settings}
    for name in given:
        if name not in known:
            msg = f"scenario {scenario!r} has no setting {name!r}; it has {', '.join(known) or 'none'}"
            raise BadSetting(msg)
    return Settings({name: setting.read(given.get(name, setting.default)) for name, setting in known.items()}, seed=seed)


def duration(name: str, default: str, help: str, low: str = "0ms", high: str = "10m") -> Setting:  # noqa: A002  # it is its help
    """A duration such as `200ms`, `1.5s`, `2m`."""
    return _number(name, default, help, low, high, _SECONDS, "duration", "200ms")


def size(name: str, default: str, help: str, low: str = "0B", high: str = "1GB") -> Setting:  # noqa: A002
    """A number of bytes such as `512B`, `64KB`, `2MB`."""
    return _number(name, default, help, low, high, _BYTES, "size", "2MB")


def share(name: str, default: str, help: str, low: str = "0%", high: str = "100%") -> Setting:  # noqa: A002
    """A share such as `5%`."""
    return _number(name, default, help, low, high, {"%": 0.01}, "share", "5%")


def count(name: str, default: str, help: str, low: int = 0, high: int = 1_000_000) -> Setting:  # noqa: A002
    """A whole number such as `10`."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?\d{1,18}", text):
            msg = f"{text!r} is no whole number, e.g., 10"
            raise ValueError(msg)
        if not low <= int(text) <= high:
            msg = f"is {text}"
            raise ValueError(msg)
        return int(text)

    return Setting(name, default, help, f"{low} to {high}", parse)


def choice(name: str, default: str, help: str, choices: Sequence[str]) -> Setting:  # noqa: A002
    """One of several words."""

    def parse(text: str) -> str:
        if text not in choices:
            msg = f"is {text!r}"
            raise ValueError(msg)
        return text

    return Setting(name, default, help, " or ".join(choices), parse)


def url(name: str, help: str, schemes: Sequence[str]) -> Setting:  # noqa: A002
    """The address of a real server; empty, the default, for none."""

    def parse(text: str) -> str:
        if not text:
            return text
        parts = urlsplit(text)
        if parts.password:
            # The value goes into the plan in the run directory and into command lines, where others could read it.
            msg = "there is a password in it, which would be written down: leave it out and give it in the environment"
            raise ValueError(msg)
        if parts.scheme not in schemes:
            msg = f"is {text!r}"
            raise ValueError(msg)
        return text

    return Setting(name, "", help, " or ".join(f"{scheme}://HOST:PORT/..." for scheme in schemes), parse)


def _number(
    name: str,
    default: str,
    help: str,  # noqa: A002
    low: str,
    high: str,
    units: Mapping[str, float],
    what: str,
    example: str,
) -> Setting:
    def amount(text: str) -> float:
        found = re.fullmatch(rf"(\d+(?:\.\d+)?)\s*({'|'.join(units)})", text)
        if not found:
            msg = f"{text!r} is no {what}: write a number and a unit ({', '.join(units)}), e.g., {example}"
            raise ValueError(msg)
        return float(found[1]) * units[found[2]]

    lowest, highest = amount(low), amount(high)

    def parse(text: str) -> float:
        value = amount(text)
        if not lowest <= value <= highest:
            msg = f"is {text}"
            raise ValueError(msg)
        return value

    return Setting(name, default, help, f"{low} to {high}", parse)
