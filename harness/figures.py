"""What a name in an SLO stands for: a path into the summary, a short name, or a percentile of durations; and its unit.

The paths are those of summary.json, walked along the models of harness/schema.py, so a figure that is added there can be asked
for at once. Its unit is in its name: `_ms`, `_s`, `_per_s`, `_share`, `_bytes`; a number without one is a count. Pure functions.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel

from harness.schema import Durations, Summary
from harness.slo import DURATIONS_S, Part, Slo, parse_slo

__all__ = ["SERIES", "SHORT", "Figure", "Series", "Unit", "check_slo", "figure_of", "figure_paths", "limit_of", "read"]

Unit = Literal["ms", "s", "/s", "%", "bytes", ""]
Series = Literal["response", "service", "lag", "wait", "run", "done", "done_finished"]

SHORT: Final[Mapping[str, tuple[str, Unit, str]]] = {
    "lost": ("tasks.lost", "", "tasks that were lost"),
    "broken_promises": ("tasks.broken_promises", "", "lost, though their request was acknowledged"),
    "duplicated": ("tasks.duplicated", "", "effects beyond the first of a task"),
    "backlog": ("tasks.backlog_max", "", "tasks accepted and not started, at most at one time"),
    "drain": ("tasks.drain_s", "s", "from the last due request to the end of the last task, finished or failed"),
    "achieved": ("requests.achieved_per_s", "/s", "requests acknowledged per second of load; as a share, of those that were due"),
    "offered": ("requests.offered_per_s", "/s", "requests due per second"),
    "error_rate": ("", "%", "requests without a 2xx answer, of those due after the warm-up"),
    "recovery": ("", "s", "from a fault to the first answer after it, of the slowest"),
    "backlog_recovery": ("", "s", "from a fault until the backlog was what it was before, of the slowest"),
}
"""Short names: the path that they stand for ("": harness/gates.py works it out), the unit, and what that is."""

SERIES: Final[Mapping[str, Series]] = {
    "requests.response_ms": "response",
    "requests.service_ms": "service",
    "requests.lag_ms": "lag",
    "tasks.wait_ms": "wait",
    "tasks.run_ms": "run",
    # The figure of the summary is of the tasks that finished. The short name also counts those that never will.
    "tasks.done_ms": "done_finished",
}
"""Durations in the summary of which every percentile can be asked for, and where the values come from."""

BOUNDED: Final = "backlog"
"""What can be asked to be bounded."""

WINDOWED: Final = frozenset({"error_rate", "achieved", "offered", "backlog"})
"""Short names, beside the percentiles, that have a value in every window."""

_SHARE_OF: Final = {"requests.achieved_per_s": "requests.offered_per_s"}
"""Whose share is meant where none is named."""

_PERCENTILE: Final = re.compile(r"(?:(response|service|lag|wait|run|done)_)?(?:(max)|p(\d+)(?:\.(\d+))?)")
_KEYS: Final = ("fault", "id", "name", "route", "function", "op", "boot", "index")
"""Fields that say which item of a list is meant: the first that its model has as text, or as a number."""
_NUMBERED: Final = frozenset({"boot", "index"})
_SUFFIXES: Final[tuple[tuple[str, Unit], ...]] = (
    ("_ms", "ms"),
    ("_per_s", "/s"),
    ("_s", "s"),
    ("_share", "%"),
    ("cpu_max", "%"),
    ("_bytes", "bytes"),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """What a name stands for."""

    name: str  # as it was written
    path: tuple[str, ...]  # in the summary; empty of what is not there
    unit: Unit
    bare: bool = False  # its name says the unit, so the limit may be a number alone
    series: Series | None = None
    share: float | None = None  # of the series: the percentile, 1.0 of the maximum; None: no percentile
    durations: bool = False  # a percentile that stands in the summary and has no series

    @property
    def has_windows(self) -> bool:
        """Whether it has a value in each part of the load."""
        return self.series is not None or self.name in WINDOWED


def check_slo(text: str) -> Slo:
    """Reads an objective and checks that its figures exist and its units agree. Raises SloError."""
    slo = parse_slo(text)
    figure = figure_of(slo, slo.figure)
    if not slo.bounded:
        limit_of(slo, figure)
    elif figure.name != BOUNDED:
        raise slo.error(f"only the backlog can be bounded: write {BOUNDED} bounded, or give {figure.name} a limit", slo.number_at)
    return slo


def figure_of(slo: Slo, parts: Sequence[Part]) -> Figure:
    """What the name stands for. Raises SloError, with names that are near."""
    names = tuple(part.name for part in parts)
    if len(names) == 1:
        (name,) = names
        if name in SHORT:
            path, unit, _ = SHORT[name]
            return Figure(name, tuple(path.split(".")) if path else (), unit)
        if found := _PERCENTILE.fullmatch(name):
            series = typing.cast("Series", found[1] or "response")
            return Figure(name, (), "ms", series=series, share=_share(slo, parts[0], found))
        paths = [path for path in figure_paths() if path[-1] == name]
        if len(paths) > 1:
            listed = ", ".join(".".join(path) for path in paths[:6])
            raise slo.error(f"{name!r} could be {listed}: write the whole path", parts[0].at)
        if not paths:
            raise slo.error(f"there is no figure {name!r}{_near(name)}", parts[0].at)
        names = paths[0]
        parts = tuple(Part(each, parts[0].at) for each in names)
    return _in_the_summary(slo, parts, names)


def limit_of(slo: Slo, figure: Figure) -> tuple[float, Figure | None]:
    """The limit in the figure's unit, or as a share (0.95) of another figure. Raises SloError if the units do not agree."""
    of = figure_of(slo, slo.of) if slo.of else None
    if of is None and slo.unit == "%" and ".".join(figure.path) in _SHARE_OF:
        of = figure_of(slo, tuple(Part(name, slo.number_at) for name in _SHARE_OF[".".join(figure.path)].split(".")))
    if slo.window_s is not None and not figure.has_windows:
        listed = ", ".join(sorted(WINDOWED))
        message = f"{figure.name} has one value for the whole run and none for each window; percentiles and {listed} have one"
        raise slo.error(message, slo.window_at)
    if of is not None:
        if _dimension(of.unit) != _dimension(figure.unit):
            raise slo.error(f"{figure.name} is {_kind(figure.unit)}, {of.name} is {_kind(of.unit)}", slo.number_at)
        if slo.window_s is not None and not of.has_windows and of.path != ("requests", "offered_per_s"):
            raise slo.error(f"{of.name} has no value in each window", slo.window_at)
        return slo.number / 100, of
    if slo.unit is None:
        if figure.unit in {"", "bytes"} or figure.bare:
            return slo.number, None
        raise slo.error(f"{figure.name} is {_kind(figure.unit)}: {_how(figure.unit, slo.number)}", slo.number_at)
    given = "s" if slo.unit in DURATIONS_S else slo.unit
    if given != _dimension(figure.unit):
        hint = _how(figure.unit, slo.number)
        raise slo.error(f"{figure.name} is {_kind(figure.unit)} and {slo.unit} is none: {hint}", slo.number_at)
    if slo.unit in DURATIONS_S:
        return slo.number * DURATIONS_S[slo.unit] * (1e3 if figure.unit == "ms" else 1.0), None
    return slo.number, None


def read(summary: Summary, path: Sequence[str]) -> float | None:
    """The number at a path. None: it is null there. Raises LookupError, in words, if this run has no such item."""
    found: Any = summary
    for name in path:
        if found is None:
            return None
        if isinstance(found, (list, tuple)):
            found = _item(found, name)
        elif isinstance(found, Mapping):
            found = found[name]
        else:
            found = getattr(found, name)
    return None if found is None else float(found)


def figure_paths() -> Iterator[tuple[str, ...]]:
    """The paths of all numbers that the summary has outside lists."""
    yield from _paths(Summary, ())


def _paths(model: type[BaseModel], above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        kind = _plain(field.annotation)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _paths(kind, (*above, name))
        elif kind in (int, float) and name != "schema_version":
            yield (*above, name)


def _in_the_summary(slo: Slo, parts: Sequence[Part], names: tuple[str, ...]) -> Figure:
    """Walks the models along the path; an item of a list is taken on trust, for only the run knows which there are."""
    model: type[BaseModel] = Summary
    in_list: type[BaseModel] | None = None
    for place, part in enumerate(parts):
        is_last = place == len(parts) - 1
        where = ".".join(names[:place])
        if in_list is not None:
            if is_last or part.name in in_list.model_fields:
                which, field = names[place - 1], part.name if part.name in in_list.model_fields else next(_numbers(in_list))
                message = f"{which} is a list: say which one by its {_key(in_list) or 'number'}, e.g., {which}.1.{field}"
                raise slo.error(message, part.at)
            model, in_list = in_list, None
            continue
        series = SERIES.get(where)
        if series is not None and is_last and (found := _PERCENTILE.fullmatch(part.name)) and not found[1]:
            return Figure(".".join(names), names, "ms", bare=True, series=series, share=_share(slo, part, found))
        if part.name not in model.model_fields:
            raise slo.error(_no_such(model, where, part.name), part.at)
        kind = _plain(model.model_fields[part.name].annotation)
        item = _record_of_list(kind)
        if item is not None and not is_last:
            in_list = item
        elif isinstance(kind, type) and issubclass(kind, BaseModel) and not is_last:
            model = kind
        elif kind in (int, float) and is_last:
            return Figure(".".join(names), names, _unit(names, model), bare=True, durations=model is Durations)
        else:
            path = ".".join(names[: place + 1])
            if kind in (int, float):
                raise slo.error(f"{path} is a number and has no parts", parts[place + 1].at)
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                raise slo.error(f"{path} is a record: go on with one of {', '.join(_numbers(kind))}", part.at)
            if item is not None:
                raise slo.error(f"{path} is a list: go on with the {_key(item) or 'number'} of an item", part.at)
            raise slo.error(f"{path} is no number, and only numbers can be compared", part.at)
    message = f"{'.'.join(names)} is no number"
    raise slo.error(message, parts[-1].at)


def _item(items: Sequence[Any], name: str) -> Any:
    key = _key(type(items[0])) if items else None
    if key is not None:
        for item in items:
            if str(getattr(item, key)) == name:
                return item
    if key not in _NUMBERED and name.isdigit() and 1 <= int(name) <= len(items):
        return items[int(name) - 1]
    known = ", ".join(str(getattr(item, key)) for item in items) if key else f"1 to {len(items)}"
    msg = f"there is no {key or 'item'} {name}: this run has {known if items else 'none'}"
    raise LookupError(msg)


def _share(slo: Slo, part: Part, found: re.Match[str]) -> float:
    """0.99 of p99; p999 is p99.9, as everybody writes it."""
    _, longest, digits, fraction = found.groups()
    if longest:
        return 1.0
    if digits == "100":
        raise slo.error("the largest is written as max", part.at)
    if len(digits) > 2 and not digits.startswith("99"):
        raise slo.error(f"{part.name!r} is no percentile: write p{digits[:2]}.{digits[2:]}, or max for the largest", part.at)
    if len(digits) > 2:
        digits, fraction = digits[:2], digits[2:] + (fraction or "")
    share = float(f"{digits}.{fraction or 0}") / 100
    if not 0 < share < 1:
        raise slo.error(f"{part.name!r} is no percentile: it lies between p0 and p100", part.at)
    # So that p99 is 0.99 and not what dividing leaves of it.
    return round(share, 9)


def _unit(names: Sequence[str], model: type[BaseModel]) -> Unit:
    # A percentile has the unit of the record that it stands in; how many there were is a count.
    name = names[-2] if model is Durations and not names[-1].startswith("n") else names[-1]
    return next((unit for suffix, unit in _SUFFIXES if name.endswith(suffix)), "")


def _plain(annotation: Any) -> Any:
    """The type without `| None` and without what is annotated to it."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _plain(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        left = [kind for kind in typing.get_args(annotation) if kind is not types.NoneType]
        return _plain(left[0]) if len(left) == 1 else annotation
    return annotation


def _record_of_list(kind: Any) -> type[BaseModel] | None:
    if typing.get_origin(kind) is not list:
        return None
    item = _plain(typing.get_args(kind)[0])
    return item if isinstance(item, type) and issubclass(item, BaseModel) else None


def _key(item: type[BaseModel]) -> str | None:
    """The field that tells the items of a list apart; None: they have but their numbers."""
    kinds = {name: _plain(field.annotation) for name, field in item.model_fields.items()}
    return next((key for key in _KEYS if kinds.get(key) is (int if key in _NUMBERED else str)), None)


def _numbers(model: type[BaseModel]) -> Iterator[str]:
    """The fields of a record that are numbers, or records of numbers."""
    for name, field in model.model_fields.items():
        kind = _plain(field.annotation)
        if kind in (int, float) or (isinstance(kind, type) and issubclass(kind, BaseModel)) or _record_of_list(kind):
            yield name


def _no_such(model: type[BaseModel], where: str, name: str) -> str:
    near = difflib.get_close_matches(name, model.model_fields, n=1)
    what = f"{where} has no {name!r}" if where else f"there is no figure {name!r}"
    if near:
        return f"{what}; did you mean {near[0]!r}?"
    return f"{what}; there are {', '.join(_numbers(model))}" if where else what + _near(name)


def _near(name: str) -> str:
    leaves = {path[-1]: ".".join(path) for path in figure_paths() if path[-1] not in Durations.model_fields}
    known = {**leaves, **dict.fromkeys(SHORT), **{f"{series}_p99": None for series in ("service", "lag", "wait", "run", "done")}}
    near = difflib.get_close_matches(name, known, n=2)
    if near:
        return "; did you mean " + " or ".join(repr(each) for each in near) + "?"
    return f"; there are p99 (any percentile), done_p99, {', '.join(SHORT)}, and every number of the summary by its path"


def _dimension(unit: Unit) -> str:
    return "s" if unit in {"ms", "s"} else unit


def _kind(unit: Unit) -> str:
    return {"s": "a duration", "/s": "a rate", "%": "a share", "bytes": "a number of bytes", "": "a count"}[_dimension(unit)]


def _how(unit: Unit, number: float) -> str:
    shown = f"{number:g}"
    return {
        "s": f"write {shown}ms or {shown}s",
        "/s": f"write {shown}/s",
        "%": f"write {shown}%",
        "bytes": f"write {shown}",
        "": f"write {shown}, or {shown}% of another count",
    }[_dimension(unit)]
