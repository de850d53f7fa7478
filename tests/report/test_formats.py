"""The report in other formats, as their readers read it."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet as pq
import pytest
import xmlschema
from click.testing import CliRunner, Result
from PIL import Image

from bench.made import make_run
from harness.commands.main import main
from harness.report.junit import junit
from harness.report.markdown import markdown
from harness.report.sheet import sheet
from harness.report.writing import FORMATS
from harness.rundir import RunDir
from harness.schema import InvariantSummary, Summary
from harness.summary import Judged, judge_evidence
from tests.accounting.world import Plan, simulate

from .conftest import HOSTILE_ROUTE, HOSTILE_TASK

ROOT = Path(__file__).resolve().parents[2]


def asked(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["report", *(str(each) for each in arguments)])


@pytest.fixture(scope="module")
def with_limits() -> Summary:
    """One limit that holds and one that is broken."""
    run = simulate(Plan(n_requests=2000, gap_ms=20.0)).evidence
    return judge_evidence(run, {"slos": ["p99<1h", "done_p95<1us"], "scenario": "e|m"}, {}).summary


def test_junit_has_a_case_for_each_limit_and_each_invariant(with_limits: Summary) -> None:
    text = junit(with_limits, "run\x00\x0b<1>")
    xmlschema.XMLSchema(str(Path(__file__).with_name("junit.xsd"))).validate(text)
    suite = ElementTree.fromstring(text)[0]
    cases = {
        (case.get("classname", "").rsplit(".", 1)[1], case.get("name")): [each.tag for each in case]
        for case in suite.iter("testcase")
    }

    assert with_limits.verdict == "FAIL"
    assert cases["verdict", "the figures can be trusted and every limit holds"] == ["failure"]
    assert cases["limit", "p99<1h"] == []
    assert cases["limit", "done_p95<1us"] == ["failure"]
    assert len(with_limits.invariants) == sum(kind == "invariant" for kind, _ in cases)
    assert (str(len(cases)), "2", "0") == (suite.get("tests"), suite.get("failures"), suite.get("errors"))


def test_what_cannot_be_trusted_is_an_error_in_junit(with_limits: Summary) -> None:
    broken = InvariantSummary(id="2", title="a < b", holds=False, detail="3 & \x07 4")
    text = junit(with_limits.model_copy(update={"verdict": "INCONCLUSIVE", "reasons": ["no"], "invariants": [broken]}), "run")
    xmlschema.XMLSchema(str(Path(__file__).with_name("junit.xsd"))).validate(text)

    found = {case.get("name", ""): [each.tag for each in case] for case in ElementTree.fromstring(text).iter("testcase")}
    assert found["2 a < b"] == ["error"]
    assert found["the figures can be trusted and every limit holds"] == ["error"]


def test_markdown_is_short_and_its_words_stay_words(with_limits: Summary) -> None:
    hostile = with_limits.model_copy(update={"reasons": ["<b>|`x`|</b>\n# @everyone [a](b)"]})
    text = markdown(hostile, "run_1")

    assert len(text.splitlines()) < 40
    assert "❌ afterload: FAIL" in text
    assert "| ❌ broken | `done_p95<1us` |" in text
    (reason,) = [line for line in text.splitlines() if "everyone" in line]
    assert reason == r"- \<b\>\|\`x\`\|\</b\> \# \@everyone \[a\]\(b\)"
    for line in text.splitlines():
        if line.startswith("| "):
            assert len(re.findall(r"(?<!\\)\|", line)) in {4, 8}


def test_the_sheet_has_a_line_a_second_and_documented_columns(judged: Judged) -> None:
    rows = list(csv.DictReader(io.StringIO(sheet(judged))))
    documented = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "report.md").read_text(), re.MULTILINE))

    assert set(rows[0]) <= documented
    assert [str(second) for second in range(len(rows))] == [row["t_s"] for row in rows]
    assert judged.account.n_attempted == sum(int(row["requests_due"]) for row in rows)
    assert judged.account.finished == sum(int(row["tasks_finished"]) for row in rows)
    assert judged.summary.tasks.backlog_max == max(int(row["backlog_max"]) for row in rows)


def test_parquet_has_every_row(made: RunDir, judged: Judged, tmp_path: Path) -> None:
    assert asked(made.path, "--format", "parquet", "--out", tmp_path / "rows").exit_code == 0
    requests, tasks, effects = (pq.read_table(tmp_path / "rows" / f"{name}.parquet") for name in ("requests", "tasks", "effects"))
    evidence = judged.evidence

    assert requests["route"].unique().to_pylist().count(HOSTILE_ROUTE) == 1
    assert HOSTILE_TASK in tasks["function"].unique().to_pylist()
    assert judged.account.n_acked == requests["outcome"].to_pylist().count("ack")
    written = np.concatenate([file.rows["finished_ns"] for boot in sorted(evidence.tasks) for file in evidence.tasks[boot]])
    expected = [None if instant == 0 else int(instant) - evidence.load_start_ns for instant in written]
    assert expected == tasks["finished_ns"].to_pylist()
    assert judged.account.finished == len(expected) - tasks["finished_ns"].null_count
    assert judged.account.effects == effects.num_rows


@pytest.mark.parametrize("name", ["png", "svg"])
def test_the_picture_is_one(made: RunDir, tmp_path: Path, name: str) -> None:
    path = tmp_path / f"story.{name}"
    assert asked(made.path, "--format", name, "--out", path).exit_code == 0

    if name == "png":
        with Image.open(path) as picture:
            assert min(picture.size) > 500
            assert len(picture.convert("RGB").getcolors(1 << 24) or ()) > 50
    else:
        assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_without_a_format_the_page_is_written_and_the_summary_printed(made: RunDir) -> None:
    made.report.unlink(missing_ok=True)
    done = asked(made.path)

    assert done.exit_code == 0
    assert "broken promises" in done.stdout
    assert made.report.read_text().startswith("<!doctype html>")


def test_several_formats_go_into_a_directory_and_one_to_standard_output(made: RunDir, judged: Judged, tmp_path: Path) -> None:
    assert asked(made.path, "--format", "markdown", "--format", "csv", "--out", tmp_path / "both").exit_code == 0
    assert {"report.md", "series.csv"} == {path.name for path in (tmp_path / "both").iterdir()}

    told = asked(made.path, "--format", "json", "--out", "-")
    assert json.loads(judged.summary.model_dump_json()) == json.loads(told.stdout)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--format", "png", "--out", "-"), "png is no text and cannot go to standard output"),
        (("--format", "csv", "--format", "html", "--out", "-"), "one format can go to standard output"),
        (("--format", "csv", "--format", "html", "--out", __file__), "is a file, and several formats need a directory"),
        (("--out", "x"), "--out x needs a format to write there"),
        (("--format", "csv", "--out", "/proc/none/x.csv"), "cannot write /proc/none/x.csv"),
    ],
)
def test_what_cannot_be_written_is_told(made: RunDir, arguments: tuple[str, ...], said: str) -> None:
    done = asked(made.path, *arguments)

    assert done.exit_code == 2
    assert said in done.stderr


@pytest.mark.parametrize(("name", "module", "extra"), [("png", "matplotlib", "picture"), ("parquet", "pyarrow", "parquet")])
def test_an_extra_that_is_not_installed_is_named(made: RunDir, name: str, module: str, extra: str) -> None:
    program = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from harness.commands.main import main\n"
        f"main(['report', {str(made.path)!r}, '--format', {name!r}])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)

    assert done.returncode == 2
    assert f"needs {module}, which is not installed" in done.stderr
    assert f"pip install 'afterload[{extra}]'" in done.stderr


def test_every_format_is_documented() -> None:
    text = (ROOT / "docs" / "report.md").read_text()

    assert [name for name in FORMATS if f"`{name}`" not in text] == []


def test_a_report_of_many_rows_needs_little_memory(tmp_path: Path) -> None:
    """600,000 rows are 37 MiB, and 10 million are to fit into 1 GiB: `python -m bench --only report` measures that."""
    made = make_run(tmp_path / "made", 600_000)
    program = """
import re, sys
from pathlib import Path
import harness.report.html
from harness.evidence import judged_run
from harness.report.writing import write_page
from harness.rundir import RunDir
def peak_kib():  # of this program alone: that of rusage would begin with the test's own
    return int(re.search("VmHWM:\\\\s+([0-9]+)", Path("/proc/self/status").read_text())[1])
before = peak_kib()
rundir = RunDir(Path(sys.argv[1]))
path = write_page(judged_run(rundir), rundir)
print(peak_kib() - before, path.stat().st_size)
"""
    done = subprocess.run([sys.executable, "-c", program, str(made.path)], capture_output=True, text=True, cwd=ROOT, check=True)
    grown_kib, page_bytes = (int(word) for word in done.stdout.split())

    assert grown_kib * 1024 < 600_000 * 100, "at most 100 bytes a row"
    assert page_bytes < 2_000_000
