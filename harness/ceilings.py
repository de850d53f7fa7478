"""Whether the load generator can send what a plan asks for, from its calibration on this machine. Said before the run begins."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NoReturn

from harness.calibration import Calibration, calibrate, keep, recorded, usable_cores
from harness.errors import RunError, UsageError
from harness.wording import share as in_percent

__all__ = ["SAFE_SHARE", "calibrate_now", "known_ceiling"]

ANY_MACHINE_PER_S: Final = 500
"""What one load process can send on any machine that somebody would measure on: where this was written it is thirty times as
much. Below it nothing is calibrated, so that a first try, or a run in CI, takes no second longer."""

SAFE_SHARE: Final = 0.7
"""Of the ceiling. Above it requests wait for each other inside the generator, and the server wants some of the machine too."""


GUESS: Final = 1.5
"""How much higher the ceiling may be where it was measured beside something else."""


def known_ceiling(peak_per_s: float | None, processes: int, *, insist: bool, say: Callable[[str], None]) -> Calibration | None:
    """The calibration for that many load processes, measured now if the peak makes it necessary and there is none.

    `peak_per_s`: the most that is asked of them together; None: nobody knows, because users wait for answers. Says it if that is
    much for them. Raises UsageError if it is more than they can send, unless `insist`.
    """
    found = recorded(processes)
    if peak_per_s is None or peak_per_s <= ANY_MACHINE_PER_S * min(processes, usable_cores()):
        return found
    if found is None or (found.is_disturbed and peak_per_s > found.ceiling_per_s * SAFE_SHARE):
        found = _measured(processes, say) or found
    if found is None:
        return None
    share = peak_per_s / found.ceiling_per_s
    if share > (GUESS if found.is_disturbed else 1) and not insist:
        _refuse(found, peak_per_s)
    if share > SAFE_SHARE:
        say(
            f"note: {peak_per_s:,.0f} requests/s are {in_percent(share)} of what {_generator(found)} can send here"
            f" ({found.ceiling_per_s:,.0f}/s): it may be late, and what it cannot send in time is shed"
        )
    return found


def calibrate_now(processes: int, say: Callable[[str], None]) -> Calibration:
    """Measures, and keeps it. Raises RunError if that is not possible now."""
    say(f"calibrating the load generator on this machine{'' if processes == 1 else f', {processes} processes'} (about 3 s)")
    found = calibrate(processes)
    say(f"calibrated: {_generator(found)} can send {found.ceiling_per_s:,.0f} requests/s here")
    try:
        keep(found)
    except OSError as error:
        say(f"note: the calibration is not kept: {error.filename or 'its place'}: {error.strerror or error}")
    return found


def _measured(processes: int, say: Callable[[str], None]) -> Calibration | None:
    try:
        return calibrate_now(processes, say)
    except RunError as error:
        say(f"note: {error}; the run goes on without knowing what the load generator can send")
        return None


def _generator(found: Calibration) -> str:
    return "the load generator" if found.processes == 1 else f"the load generator with {found.processes} processes"


def _refuse(found: Calibration, peak_per_s: float) -> NoReturn:
    when = time.strftime("%Y-%m-%d", time.localtime(found.at_unix_s))
    more = "" if found.processes >= found.cores else f"send from {found.processes + 1} processes (--processes), "
    raise UsageError(
        f"{peak_per_s:,.0f} requests/s are asked for, and {_generator(found)} can send at most {found.ceiling_per_s:,.0f}/s here"
        f" (measured on {when})",
        f"{more}ask for less, measure it again (afterload doctor --calibrate), or insist with --above-ceiling:"
        " what cannot be sent in time is shed then, and the run is inconclusive",
    )
