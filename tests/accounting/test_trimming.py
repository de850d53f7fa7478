"""A finished run takes the room of its rows on the disk, and not one row of it is another one's."""

import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.leftovers import tidy_rows
from harness.rows import HeaderField, Kind, RowFileError, RowWriter, read_rows, trim
from harness.rows.layout import HEADER_BYTES, ROW_TYPES
from harness.rundir import RunDir

WRITES = """
import sys, time
from pathlib import Path
from harness.rows import Kind, RowWriter
rows = RowWriter(Path(sys.argv[1]), Kind.EFFECTS)
for op in range(1, 8):
    rows.append((op, 0, op * 1000))
print("written", flush=True)
sys.stdin.read()
"""


def written(path: Path, n: int) -> None:
    with RowWriter(path, Kind.EFFECTS) as rows:
        for op in range(1, n + 1):
            rows.append((op, 0, op * 1000))


@pytest.mark.parametrize("n", [0, 1, 7, 16_384, 16_385])
def test_the_rows_are_the_same_and_the_room_for_others_is_given_back(tmp_path: Path, n: int):
    path = tmp_path / "effects-1.rows"
    written(path, n)
    before, size = np.array(read_rows(path).rows), path.stat().st_size
    assert trim(path) == size - HEADER_BYTES - n * ROW_TYPES[Kind.EFFECTS].itemsize
    assert np.array_equal(read_rows(path).rows, before)
    assert read_rows(path).missing == 0
    assert trim(path) == 0


def test_whoever_has_the_file_mapped_reads_on(tmp_path: Path):
    path = tmp_path / "effects-1.rows"
    written(path, 5)
    reading = read_rows(path).rows
    trim(path)
    assert reading["op"].tolist() == [1, 2, 3, 4, 5]


def test_a_file_that_is_already_too_short_is_left_as_it_is(tmp_path: Path):
    path = tmp_path / "effects-1.rows"
    written(path, 5)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), HEADER_BYTES) as page:
        page[HeaderField.CLAIMED : HeaderField.CLAIMED + 8] = (1 << 40).to_bytes(8, "little")
    size = path.stat().st_size
    with pytest.raises(RowFileError, match="too short"):
        trim(path)
    assert path.stat().st_size == size


def test_a_writer_that_still_runs_is_not_cut_short(tmp_path: Path):
    rundir = RunDir(tmp_path)
    path = rundir.effects()
    command = [sys.executable, "-c", WRITES, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        assert tidy_rows(rundir) == 0
        writer.kill()
        writer.wait()
        assert tidy_rows(rundir) > 0
    assert read_rows(path).rows["op"].tolist() == list(range(1, 8))
    (tmp_path / "broken.rows").write_bytes(b"x" * 20_000)
    assert tidy_rows(rundir) == 0
