"""Whether two records say the same, down to each element of their arrays; if not, where."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np


def differences(one: Any, other: Any, path: str = "", *, but: Collection[str] = ()) -> Iterator[str]:
    """Paths and both values. `but`: names of fields that may differ."""
    if dataclasses.is_dataclass(one) and type(one) is type(other):
        for field in dataclasses.fields(one):
            if field.name not in but:
                yield from differences(getattr(one, field.name), getattr(other, field.name), f"{path}.{field.name}", but=but)
    elif isinstance(one, np.ndarray):
        if one.shape != other.shape or not np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
            yield f"{path}: {one} and {other}"
    elif isinstance(one, float) and isinstance(other, float):
        if one != other and not (math.isnan(one) and math.isnan(other)):
            yield f"{path}: {one} and {other}"
    elif isinstance(one, Mapping):
        if one != other:
            yield f"{path}: {one} and {other}"
    elif isinstance(one, (tuple, list)) and len(one) == len(other):
        for number, (first, second) in enumerate(zip(one, other, strict=True)):
            yield from differences(first, second, f"{path}[{number}]", but=but)
    elif one != other:
        yield f"{path}: {one} and {other}"
