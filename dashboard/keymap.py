"""The user's own keys: a TOML file that gives bindings, by their ids, other keys.

    [keys]
    "live.freeze" = "f"            # or several: "f,space"

What is wrong in it is told with the name of the file and of the binding; a file that is wrong changes nothing.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import platformdirs
from textual.binding import Binding, BindingType
from textual.keys import Keys

from harness.errors import UsageError

__all__ = ["bindings_by_id", "default_path", "read_keymap"]

_NAMED = frozenset(str(key.value) for key in Keys)


def default_path() -> Path:
    """Where the user's own file is, if there is one."""
    return platformdirs.user_config_path("afterload") / "keys.toml"


def bindings_by_id(classes: Iterable[type]) -> dict[str, Binding]:
    """All bindings with an id of these classes (their own, not inherited ones)."""
    found: dict[str, Binding] = {}
    for each in classes:
        given: list[BindingType] = vars(each).get("BINDINGS", [])
        for binding in given:
            if isinstance(binding, Binding) and binding.id:
                found.setdefault(binding.id, binding)
    return found


def read_keymap(path: Path | None, all_bindings: Callable[[], Mapping[str, Binding]]) -> dict[str, str]:
    """Keys by binding id. None: the default file, which need not be there. Raises UsageError naming what is wrong.

    The bindings are asked for only if there is a file: that imports every screen.
    """
    where = path or default_path()
    try:
        table = tomllib.loads(where.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if path is None:
            return {}
        raise UsageError(f"there is no file of keys {where}") from None
    except OSError as error:
        raise UsageError(f"cannot read the keys {where}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the keys {where} are no TOML: {error}") from None
    keys = table.pop("keys", {})
    if table or not isinstance(keys, dict):
        raise UsageError(f"the keys {where}: {next(iter(table), 'keys')} is not understood; allowed is one table [keys]")
    known = all_bindings()
    for name, key in keys.items():
        _check(where, name, key, known)
    _refuse_twice(where, keys, known)
    return dict(keys)


def _check(where: Path, name: str, key: object, known: Mapping[str, Binding]) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(sorted(known))}"
        raise UsageError(f"the keys {where}: there is no binding {name!r}", hint)
    if not isinstance(key, str) or not key:
        raise UsageError(f'the keys {where}: {name} is {key!r}; allowed is a key or several with commas, e.g., "f" or "f,space"')
    for each in key.split(","):
        *modifiers, last = each.strip().split("+") if each.strip() != "+" else ["plus"]
        is_known = len(last) == 1 or last in _NAMED or last.replace("_", "").isalpha()
        if not last or not is_known or not set(modifiers) <= {"ctrl", "alt", "shift", "super", "meta", "hyper"}:
            raise UsageError(
                f"the keys {where}: {name} is {key!r}, and {each.strip()!r} is no key", 'e.g., "f", "F", "ctrl+f", "f5"'
            )


def _refuse_twice(where: Path, keys: Mapping[str, str], known: Mapping[str, Binding]) -> None:
    """Two things of one screen on one key: the second would never be heard of."""
    taken: dict[tuple[str, str], str] = {}
    for name, binding in known.items():
        screen = name.partition(".")[0]
        for key in keys.get(name, binding.key).split(","):
            other = taken.setdefault((screen, key.strip()), name)
            if other != name and {name, other} & keys.keys():
                raise UsageError(
                    f"the keys {where}: {name} and {other} are both on {key.strip()!r}", "give one of them another key"
                )
