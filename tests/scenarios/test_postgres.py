"""Analytics on a real PostgreSQL server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.scenarios.conftest import broken_invariants, figure
from tests.scenarios.postgres import missing, postgres


def test_accesses_are_logged_in_postgres_and_what_is_locked_out_has_failed(
    together: Callable[..., dict[str, dict[str, Any]]],
) -> None:
    """Writers of the same row wait for it, up to their patience. The run's schema is gone afterwards, and the count is kept."""
    if reason := missing():
        pytest.skip(reason)
    with postgres() as url:
        given = ("--rate", 30, "--pool", 6, "--for", "2s", "--fault", "kill@1s", "--set", "hold=120ms", "--set", "patience=40ms")
        runs = together("analytics", "--postgres", url, *given, each={"sync": ("--tasks", "sync"), "async": ("--tasks", "async")})
        with psycopg.connect(url) as db:
            schemas = db.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'afterload%'").fetchone()

    assert schemas == (0,)
    for kind, summary in runs.items():
        assert broken_invariants(summary) == [], kind
        assert summary["scenario"]["problems"] == [], kind
        assert figure(summary, "logged") == summary["tasks"]["effects"] > 0, kind
        assert summary["tasks"]["failed"] > 0, kind
        log = "".join((summary["run"] / f"server-{boot}.log").read_text() for boot in (1, 2))
        assert "lock timeout" in log, kind
