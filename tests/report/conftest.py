"""One made run with a kill, judged once; names in it that would be code if anybody let them."""

from __future__ import annotations

import pytest

from bench.made import make_run
from harness.evidence import judged_run
from harness.rundir import RunDir
from harness.summary import Judged

HOSTILE_ROUTE = "POST /</script><img src=x onerror=window.hacked=1>"
HOSTILE_TASK = '"><b onclick=1>|`$&{{7*7}}'


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    routes = (HOSTILE_ROUTE, "GET /plain")
    return make_run(
        tmp_path_factory.mktemp("made") / "a-run", 12_000, for_s=20.0, routes=routes, functions=(HOSTILE_TASK, "mail")
    )


@pytest.fixture(scope="session")
def judged(made: RunDir) -> Judged:
    return judged_run(made)
