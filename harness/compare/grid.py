"""`--vary KEY=A,B`: which configurations are compared. Pure functions; which keys there are, the caller says."""

from __future__ import annotations

import csv
import difflib
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.errors import UsageError

__all__ = ["MOST_CONFIGURATIONS", "Configuration", "Factor", "Key", "chosen", "grid", "parse_factor"]

MOST_CONFIGURATIONS: Final = 64
_NAME: Final = re.compile(r"[A-Za-z][\w.-]*")
_SETTING: Final = re.compile(r"(?:set|settings)\.(?P<name>[A-Za-z][\w-]*)")


@dataclass(frozen=True, slots=True)
class Key:
    """Something of a plan that can be varied."""

    name: str  # of the plan
    read: Callable[[str], Any]  # raises ValueError, saying what is allowed
    is_list: bool = False  # one value of it stands for a list of one


@dataclass(frozen=True, slots=True)
class Factor:
    """One key and the values that it takes, in the order in which they were given."""

    key: str  # as it is shown: the name of a plan's key, or of a setting
    texts: tuple[str, ...]
    changes: tuple[Mapping[str, Any], ...]  # what each makes of a plan's keys


@dataclass(frozen=True, slots=True)
class Configuration:
    """One cell of the grid."""

    label: str  # e.g., tasks=async pool=8
    values: Mapping[str, str]  # of each factor, as text
    changes: Mapping[str, Any]  # keys of a plan


def parse_factor(text: str, keys: Mapping[str, Key], *, has_settings: bool) -> Factor:
    """Reads one `--vary`. Raises UsageError. `keys`: by every name that people use; `has_settings`: other names are settings."""
    name, equals, given = text.partition("=")
    name = name.strip()
    if not equals or not _NAME.fullmatch(name):
        raise UsageError(
            f"--vary {text!r} names no values",
            "write a key, = and values with commas: --vary tasks=sync,async or --vary pool=8,40",
        )
    texts = _values(text, given)
    setting = _SETTING.fullmatch(name)
    if setting or (_plain(name) not in keys and has_settings and not _near(name, keys)):
        shown = setting["name"] if setting else name
        return Factor(shown, texts, tuple({"settings": {shown: value}} for value in texts))
    key = keys.get(_plain(name))
    if key is None:
        near = _near(name, keys)
        meant = f"; did you mean {near!r}?" if near else ""
        known = ", ".join(sorted({each.name for each in keys.values()}))
        hint = f"a setting of the scenario is written set.{name}; keys are {known}" if has_settings else f"keys are {known}"
        raise UsageError(f"--vary {name}: there is no such key{meant}", hint)
    changes = []
    for value in texts:
        try:
            read = key.read(value)
        except ValueError as error:
            raise UsageError(f"--vary {name}: {error if repr(value) in str(error) else f'{value!r}: {error}'}") from None
        changes.append({key.name: (() if value == "none" else (read,)) if key.is_list else read})
    return Factor(_plain(name), texts, tuple(changes))


def grid(factors: Sequence[Factor]) -> list[Configuration]:
    """Every combination, the first factor changing slowest. Without a factor: the plan as it is. Raises UsageError."""
    names = [factor.key for factor in factors]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            raise UsageError(f"--vary {name} is given twice", f"give its values in one: --vary {name}=A,B,C")
    n = 1
    for factor in factors:
        n *= len(factor.texts)
    if n > MOST_CONFIGURATIONS:
        raise UsageError(
            f"{n} configurations are more than {MOST_CONFIGURATIONS}", "vary fewer keys at a time: a grid multiplies their values"
        )
    found = []
    for cell in itertools.product(*(list(zip(_told_apart(factor.texts), factor.changes, strict=True)) for factor in factors)):
        changes: dict[str, Any] = {}
        for _, change in cell:
            settings = {**changes.get("settings", {}), **change.get("settings", {})}
            changes.update(change)
            if settings:
                changes["settings"] = settings
        values = {name: text for name, (text, _) in zip(names, cell, strict=True)}
        found.append(Configuration(label_of(values), values, changes))
    return found


def label_of(values: Mapping[str, str]) -> str:
    """What a configuration is called."""
    return " ".join(f"{name}={value}" for name, value in values.items()) or "as it is"


def chosen(text: str, configurations: Sequence[Configuration]) -> int:
    """Which configuration `--against` names: by all its values, or by as many as tell it apart. Raises UsageError."""
    wanted: dict[str, str] = {}
    for part in re.split(r"[\s,]+", text.strip()):
        name, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"--against {text!r}: {part!r} is no KEY=VALUE", _which(configurations))
        wanted[_SETTING.sub(r"\g<name>", name).replace("-", "_")] = value
    found = [
        number
        for number, each in enumerate(configurations)
        if all({_plain(key): value for key, value in each.values.items()}.get(name) == value for name, value in wanted.items())
    ]
    if len(found) != 1:
        what = "no configuration" if not found else f"{len(found)} configurations"
        raise UsageError(f"--against {text!r} fits {what}", _which(configurations))
    return found[0]


def _told_apart(texts: Sequence[str]) -> list[str]:
    """The same value twice is a configuration against itself, which shows how much chance alone does."""
    return [f"{text}#{texts[:place].count(text) + 1}" if text in texts[:place] else text for place, text in enumerate(texts)]


def _which(configurations: Sequence[Configuration]) -> str:
    return "there are: " + "; ".join(each.label for each in configurations)


def _values(text: str, given: str) -> tuple[str, ...]:
    try:
        values = tuple(value.strip() for value in next(csv.reader([given], skipinitialspace=True, strict=True), []))
    except csv.Error:
        raise UsageError(
            f"--vary {text!r} has a quotation mark that does not end", 'a value with a comma in it is written "A, B"'
        ) from None
    if not values or not all(values):
        raise UsageError(f"--vary {text!r} has an empty value", "write, e.g., --vary tasks=sync,async")
    return values


def _plain(name: str) -> str:
    return name.replace("-", "_")


def _near(name: str, keys: Mapping[str, Key]) -> str | None:
    return next(iter(difflib.get_close_matches(_plain(name), keys, n=1, cutoff=0.75)), None)
