"""A whole run with one of the lying servers: `python run.py LIE PORT`, with the run directory `run`."""

import sys
from pathlib import Path

from harness.plan import Plan
from harness.session import describe_scenario, run
from tests.run.conftest import liar

values = {"scenario": "email", "pool": 4, "rate": 40.0, "for_s": 30.0, "port": int(sys.argv[2])}
plan = Plan.of(values, "test")
run(plan, describe_scenario("email", "sync", {}, 1), out=Path("run"), engine=liar(sys.argv[1])(plan))
