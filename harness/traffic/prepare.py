"""What must be known of the traffic before the load: checked before anything is started, generated once the server is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.engines import MODULE
from harness.errors import RunError, UsageError
from harness.plan import Plan
from harness.processes import Child
from harness.rundir import RunDir
from harness.talk import Talk
from harness.traffic.jobs import requested_templates, resolved_headers

__all__ = ["check_traffic", "generated_templates"]

_CHECK_S = 60.0
_GENERATE_S = 120.0
_VARIANTS = 32  # of each operation


def check_traffic(plan: Plan) -> None:
    """Raises UsageError for what would else fail once the server runs: a variable that is not set, a mistake in a locustfile."""
    try:
        requested_templates(plan, os.environ)
        resolved_headers("--from-openapi", plan.openapi_headers, os.environ)
    except ValueError as error:
        raise UsageError(str(error)) from None
    source = plan.openapi
    if source is not None and source != "auto" and "://" not in source and not Path(source).is_file():
        raise UsageError(f"there is no OpenAPI document {source}", "give auto to read it from the app, a URL, or a file")
    if plan.locustfile is not None:
        _check_locustfile(plan, Path(plan.locustfile))


def _check_locustfile(plan: Plan, file: Path) -> None:
    if not file.is_file():
        raise UsageError(f"there is no locustfile {file}")
    command = [sys.executable, *MODULE, "harness.load", str(file)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=_CHECK_S)
    except subprocess.TimeoutExpired:
        raise UsageError(f"the locustfile {file} was not imported within {_CHECK_S:g} s: what does it wait for?") from None
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    if done.returncode == 2 and lines:
        raise UsageError(lines[-1].removeprefix("error: "))
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise RunError(f"the locustfile {file} could not be looked at: {last[0]}")
    described: dict[str, Any] = json.loads(done.stdout)
    if plan.users is None and described["shape"] is None:
        raise UsageError(
            f"the locustfile {file.name} does not say how many users there are", "say it with --users N, or with a LoadTestShape"
        )


def generated_templates(
    plan: Plan, base_url: str, rundir: RunDir, tick: Callable[[], None]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Templates made from the app's schema by a process of their own, and what there is to say about them. Raises RunError."""
    log = rundir.log("openapi")
    child = Child("openapi", [sys.executable, *MODULE, "harness.traffic.generate"], log, run_id=rundir.run_id, piped=True)
    try:
        talk = Talk(child, tick)
        talk.say(
            {
                "source": plan.openapi,
                "base_url": base_url,
                "only": plan.openapi_only,
                "exclude": plan.openapi_exclude,
                "header_names": list(plan.openapi_headers),
                "seed": plan.seed,
                "variants": _VARIANTS,
            }
        )
        try:
            made = talk.hear(_GENERATE_S, "while it made requests from the OpenAPI document")
        except RunError:
            said = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("error: ")]
            if said:
                raise UsageError(said[-1].removeprefix("error: ")) from None
            raise
    finally:
        child.stop(1.0)
    # What is sent can be looked up afterwards; the headers that were given are added only now, for they may be secrets.
    (rundir.path / "traffic.json").write_text(json.dumps(made, indent=1), encoding="utf-8")
    headers = resolved_headers("--from-openapi", plan.openapi_headers, os.environ)
    templates = [{**template, "headers": {**template["headers"], **headers}} for template in made.pop("templates")]
    return templates, {**made, "operations": len({template["name"] for template in templates}), "variants": len(templates)}
