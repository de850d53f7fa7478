"""Real comparisons whose truth is known: `python -m tests.compare.real [EQUAL] [PLANTED]` on a machine with nothing else to do.

EQUAL comparisons of two configurations that are the same must not come out different (19 of 20), and of PLANTED ones, in which
a mail takes 110 ms instead of 100 ms, it must be found (9 of 10). One of each takes about two minutes. Each is
kept in comparisons/, with another seed; what is there already is not done again.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.compare.loading import read_comparison
from harness.compare.record import Comparison

OPTIONS = ("--for", "5s", "--rate", "50", "--fault", "none", "--settle", "0.3s")
KINDS = {"equal": "tasks=sync,sync", "planted": "delay=100ms,110ms"}


def compared(kind: str, number: int, folder: Path) -> Comparison | None:
    """One real comparison; None: it could not be made."""
    out = folder / f"{kind}-{number:02}"
    command = [sys.executable, "-m", "harness", "compare"]
    if (out / "design.json").exists():
        command += ["--resume", str(out)]
    else:
        command += ["email", "--vary", KINDS[kind], *OPTIONS, "--seed", str(1000 * number + 1), "--out", str(out)]
    if not (out / "comparison.json").exists() or read_comparison(out).complete < read_comparison(out).blocks:
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    return read_comparison(out) if (out / "comparison.json").exists() else None


def right(kind: str, comparison: Comparison) -> bool:
    figures = comparison.contrasts[0].figures
    if kind == "equal":
        return not any(each.decision == "different" for each in figures)
    return any(each.id in {"done_p50", "done_p95"} and each.direction == "worse" for each in figures)


def main(equal: int, planted: int) -> None:
    folder = Path("comparisons")
    folder.mkdir(exist_ok=True)
    for kind, n in (("equal", equal), ("planted", planted)):
        n_right = 0
        for number in range(1, n + 1):
            found = compared(kind, number, folder)
            if found is None:
                print(f"{kind} {number}: could not be made", flush=True)
                continue
            is_right = right(kind, found)
            n_right += is_right
            done = next(each for each in found.contrasts[0].figures if each.id == "done_p50")
            noisy = sum((run.noisy_share or 0) >= 0.1 for run in found.runs)
            ends = f"{done.low:.3f} to {done.high:.3f}" if done.low is not None and done.high is not None else "unknown"
            print(
                f"{kind} {number}: {'right' if is_right else 'WRONG'}  done p50 x{done.estimate:.3f} ({ends}), {done.decision};"
                f" {noisy} of {len(found.runs)} runs in noise",
                flush=True,
            )
        if n:
            print(f"{kind}: {n_right} of {n} right\n", flush=True)


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:]]
    main(*(given if len(given) == 2 else (20, 10)))
