"""`python -m tests.referee CHECKOUT [pytest arguments]`: what passes there as ever, and fails with the bundled server in between.

Runs the tests of a checkout of FastAPI or Starlette twice, in processes of their own: with its test client as it is, and with one
that sends over sockets (referee_plugin.py). Exit status 1 if anything failed for a reason that known.py does not give.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from .known import KNOWN

HERE = Path(__file__).resolve().parent
QUIET = ["-q", "-p", "no:cacheprovider", "-W", "ignore", "-o", "filterwarnings=", "-o", "addopts=", "--timeout", "60"]


def run(checkout: Path, way: str, arguments: list[str]) -> dict[str, Any]:
    """How each test ended, and what went over the wire."""
    with tempfile.TemporaryDirectory() as folder:
        report, log = Path(folder) / "report.json", Path(folder) / "log"
        command = [sys.executable, "-m", "pytest", *QUIET, "--continue-on-collection-errors", "-p", "referee_plugin"]
        command += ["--referee", way, "--referee-report", str(report), *arguments]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent.parent), str(HERE)])}
        with log.open("wb") as out:
            subprocess.run(command, cwd=checkout, env=environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL, check=False)
        if not report.exists():
            sys.exit(f"error: pytest did not get to its end:\n{log.read_text(encoding='utf-8', errors='replace')[-3000:]}")
        found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        return found


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.referee", description=__doc__.partition("\n\n")[0] if __doc__ else None
    )
    parser.add_argument("checkout", type=Path, help="a clone of FastAPI or Starlette, near the release that is installed")
    parser.add_argument("--way", choices=["auto", "general"], default="auto", help="as the server's option")
    options, arguments = parser.parse_known_args()
    arguments = arguments or ["tests"]
    for package in ("fastapi", "starlette"):
        if (options.checkout / package).is_dir():
            sys.exit(
                f"error: the tests would import {options.checkout / package} and not what is installed\n\n"
                "hint: move that folder out of the way"
            )
    base = run(options.checkout, "none", arguments)
    ours = run(options.checkout, options.way, arguments)
    passed = {test for test, (outcome, _) in base["outcomes"].items() if outcome == "passed"}
    failed = {test: message for test, (outcome, message) in ours["outcomes"].items() if test in passed and outcome == "failed"}
    unknown = 0
    for test, message in sorted(failed.items()):
        reason = next((reason for pattern, reason in KNOWN.items() if fnmatch(test.replace("[", "("), pattern)), None)
        unknown += reason is None
        print(f"{'DIFFERS' if reason is None else 'known'}  {test}\n         {reason or message[:200]}")
    counts = ", ".join(f"{count} {what}" for what, count in sorted(ours["counts"].items()))
    print(f"\n{len(passed)} of {len(base['outcomes'])} tests pass without the server; with it ({counts})")
    print(f"{len(passed) - len(failed)} of those pass, {len(failed) - unknown} fail for a known reason, {unknown} for another")
    return 1 if unknown or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
