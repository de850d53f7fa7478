"""What a load machine makes of its own load processes: real processes, and the talk to the one that measures recorded here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.joiner import Joiner, _Load
from harness.processes import Child
from harness.talk import Talk


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Child]:
    child = Child("load-1", ["sleep", "60"], tmp_path / "load-1.log", run_id=f"test-{tmp_path.name}", piped=True)
    yield child
    child.stop(1.0)


class Ending(Talk):
    """Records what is said, and ends a process as soon as anything is: in the middle of a look at it."""

    def __init__(self, child: Child) -> None:
        super().__init__(child, lambda: None)
        self.child = child
        self.said: list[dict[str, Any]] = []

    def say(self, message: dict[str, Any]) -> bool:
        self.said.append(message)
        self.child.kill()
        return True


def test_a_load_process_that_is_killed_while_it_is_looked_at_is_never_taken_for_one_that_has_ended_well(
    tmp_path: Path, sleeper: Child
) -> None:
    joiner = Joiner(("127.0.0.1", 1), "", processes=1, confirmed=(), locustfile=None, join_s=1.0)
    joiner._loads.append(_Load(1, tmp_path / "requests-1.rows", sleeper, Talk(sleeper, lambda: None)))
    joiner._has_begun = True
    talk = Ending(sleeper)

    joiner._follow_loads(talk)  # alive when it began, dead when it ended
    joiner._follow_loads(talk)

    (done,) = [said for said in talk.said if "done" in said]
    assert done["problem"].startswith("load-1 was ended by SIGKILL in the middle of the load")
    assert done["done"][0]["exit_status"] == -9
