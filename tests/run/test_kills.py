"""Random kills, rates, pools and kinds: every invariant in every run. `make kills N=1000` is the long version."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kills import check


@pytest.mark.parametrize("seed", range(25))
def test_every_invariant_holds_whenever_the_server_is_killed(folder: Path, seed: int) -> None:
    """The plan is made from the seed; see tests/kills.py."""
    finding = check(seed, folder)

    assert finding.wrong == (), finding.plan
