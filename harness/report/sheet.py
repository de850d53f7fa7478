"""The run second by second as CSV. Columns and units: docs/report.md. Pure: no clock, no files."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from harness.series import SHARES, bin_edges, done_or_never, series
from harness.summary import Judged

__all__ = ["sheet"]

BIN_S: Final = 1.0


def sheet(judged: Judged) -> str:
    """One line a second, `t_s` being its beginning after load start. Empty: no value; `inf`: it never ended."""
    found = series(judged.evidence, judged.account, bin_edges(judged.evidence, judged.account, BIN_S), judged.spans, judged.steps)
    columns: dict[str, NDArray[Any]] = {"t_s": np.arange(len(found.due)) * BIN_S}
    columns |= {f"requests_{name}": getattr(found, name) for name in ("due", "acked", "rejected", "indeterminate")}
    columns |= {f"response_p{share * 100:.0f}_ms": found.response_ms[row] for row, share in enumerate(SHARES)}
    columns |= {f"tasks_{name}": getattr(found, name) for name in ("accepted", "started", "finished", "failed")}
    done_ms = done_or_never(found, judged.spans)
    columns |= {f"done_p{share * 100:.0f}_ms": done_ms[row] for row, share in enumerate(SHARES)}
    columns |= {"due_then_never_done": found.undone}
    columns |= {name: getattr(found, name) for name in ("backlog_max", "backlog_end", "busy_max", "busy_mean")}
    if (sampled := found.sampled) is not None:
        columns |= {field.name: getattr(sampled, field.name) for field in dataclasses.fields(sampled)}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*([_cell(value) for value in values.tolist()] for values in columns.values()), strict=True))
    return text.getvalue()


def _cell(value: float) -> str:
    if math.isnan(value):
        return ""
    if math.isinf(value):
        return "inf"
    return str(int(value)) if float(value).is_integer() else f"{value:.6f}".rstrip("0")
