"""What the files that afterload writes have in common: a strict record, and numbers that JSON can say."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

__all__ = ["Number", "NumberOfNineDigits", "Record"]


class Record(BaseModel):
    """A part of a file. What it does not know is an error, not passed over."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _to_the_millionth(value: object) -> object:
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def _to_nine_digits(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    return value


Number = Annotated[float | None, BeforeValidator(_to_the_millionth)]
"""JSON knows no infinity and no NaN: null. Digits that no clock measured are cut off."""

NumberOfNineDigits = Annotated[float | None, BeforeValidator(_to_nine_digits)]
"""The same for what may be tiny: ratios, probabilities."""
