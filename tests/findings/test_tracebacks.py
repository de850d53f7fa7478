"""What a server's log says most often, and nothing that may be about one person."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.tracebacks import errors_in

RAISES = """
import traceback

def fail(error):
    try:
        raise error
    except Exception:
        traceback.print_exc()

class Busy(Exception): ...

for number in range(5):
    fail(Busy("the database is locked"))
for user in ("ann", "bob"):
    fail(KeyError(f"{user}@example.org"))
for number in range(4):
    try:
        try:
            1 / 0
        except ZeroDivisionError as error:
            raise RuntimeError("in the middle of it") from error
    except RuntimeError:
        traceback.print_exc()
fail(ExceptionGroup("several", [ValueError("one"), TypeError("two")]))
print("no traceback: just a line")
"""


def test_tracebacks_of_a_real_process_are_counted_by_what_they_end_with(tmp_path: Path) -> None:
    """Of a chain the last one counts; a message that came once or twice is left out."""
    log = tmp_path / "server-1.log"
    with log.open("wb") as file:
        subprocess.run([sys.executable, "-c", RAISES], stdout=file, stderr=file, check=True)
    found = dict(errors_in([log]))

    assert found["Busy: the database is locked"] == 5
    assert found["RuntimeError: in the middle of it"] == 4
    assert found["KeyError"] == 2
    assert "ZeroDivisionError" not in " ".join(found)
    assert "example.org" not in " ".join(found)


def test_a_log_that_is_not_there_or_holds_no_traceback_has_no_errors(tmp_path: Path) -> None:
    (tmp_path / "server-1.log").write_text('Traceback (most recent call last):\n  File "x.py", line 1, in x\n')

    assert errors_in([tmp_path / "server-1.log", tmp_path / "server-2.log"]) == ()


def test_the_errors_of_all_boots_are_added_up(tmp_path: Path) -> None:
    text = 'Traceback (most recent call last):\n  File "x.py", line 1, in x\n    y()\nshop.Closed: after eight\n'
    for boot in (1, 2):
        (tmp_path / f"server-{boot}.log").write_text(text * 2)

    assert errors_in(sorted(tmp_path.glob("server-*.log"))) == (("Closed: after eight", 4),)
