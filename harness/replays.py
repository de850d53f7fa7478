"""The file of times that a plan replays: opened, cut and spread as the plan says. What is in it: harness/load/replay.py."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.load.pacing import random_times
from harness.load.replay import Recorded, ReplayError, read_times, replay_length_s, replayed_times_ns
from harness.plan import Plan

__all__ = ["Replay", "peak_of", "read_replay"]


@dataclass(frozen=True, slots=True)
class Replay:
    """What to send when."""

    due_ns: NDArray[np.int64]  # from load start, sorted
    length_s: float  # of the load

    @property
    def peak_per_s(self) -> float:
        """The most requests due within one second."""
        return float(np.max(np.searchsorted(self.due_ns, self.due_ns + 10**9) - np.arange(len(self.due_ns))))


def read_replay(values: Mapping[str, Any]) -> Replay:
    """The replay of a plan (its keys and values); `for_s`, if it is given, cuts it. Raises UsageError if it can't be read."""
    path, field = Path(values["replay"]), values.get("replay_field")
    speed, for_s = float(values.get("replay_speed") or 1.0), values.get("for_s")
    try:
        recorded = _recorded(path, field, path.stat().st_mtime_ns)
    except OSError as error:
        raise UsageError(f"cannot read the replay {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"the replay {path} is no UTF-8 text (byte {error.start})") from None
    except ReplayError as error:
        which = (
            "" if field is not None or "name it" not in str(error) else "--replay-field says which column or key holds the time"
        )
        raise UsageError(f"the replay {path}: {error}", which or None) from None
    due_ns = replayed_times_ns(
        recorded,
        spread="poisson" if values.get("arrivals") == "poisson" else "constant",
        speed=speed,
        duration_s=for_s,
        random=random_times(int(values.get("seed") or 1)),
    )
    if not len(due_ns):
        raise UsageError(f"the replay {path} has no request in its first {for_s:g} s", "ask for a longer load with --for")
    if for_s is None:
        for_s = replay_length_s(due_ns, is_in_whole_seconds=recorded.is_in_whole_seconds, speed=speed)
    return Replay(due_ns, for_s)


def peak_of(plan: Plan) -> float | None:
    """The most requests per second that a plan asks for; None where users wait for answers. Raises as `read_replay`."""
    if plan.replay is not None:
        return read_replay(dict(plan)).peak_per_s
    return None if plan.profile is None else plan.profile.peak_per_s


@lru_cache(maxsize=1)
def _recorded(path: Path, field: str | None, changed_ns: int) -> Recorded:
    """Reads the file; once, though it is asked for when the plan is made and when the run begins. Raises ReplayError, OSError."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        return read_times(lines, field)
