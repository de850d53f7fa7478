"""A scenario in somebody's own file: it runs as `afterload new` writes it, and what is wrong with it is told by its line."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner

from scenarios import own
from scenarios.__main__ import main as scenarios_main
from tests.judged import require_judged
from tests.run.conftest import Done
from tests.scenarios.conftest import broken_invariants

Afterload = Callable[..., Done]
STARTING_POINT = Path(own.__file__).with_name("starting_point.py").read_text()


def line_of(source: str, text: str) -> int:
    """The line in which `text` stands first."""
    return source[: source.index(text)].count("\n") + 1


def test_what_new_writes_runs_with_a_kill_and_a_check_that_raises_is_told_by_its_line(afterload: Afterload, folder: Path) -> None:
    """Two runs at once: the file as it is, with what it calls a failure; and with a check that divides by zero."""
    made = afterload("new", "my_scenario.py")
    assert made.status == 0, made.err
    assert made.out == "wrote my_scenario.py; run it with: afterload run ./my_scenario.py\n"
    source = (folder / "my_scenario.py").read_text()
    assert source == STARTING_POINT
    wrong = source.replace("n_effects = len(rows.effects)", "n_effects = len(rows.effects) / 0")
    (folder / "sub").mkdir()
    (folder / "sub" / "wrong.py").write_text(wrong)
    given = ("--for", "2s", "--rate", 40, "--fault", "kill@1s", "--json", "-")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(afterload, "run", "./my_scenario.py", *given, "--out", "a", "--set", "fail=20%")
        second = pool.submit(afterload, "run", "sub/wrong.py", *given, "--out", "b")
        good, bad = first.result(), second.result()

    require_judged(good.status, good.json, good.err)
    assert broken_invariants(good.json) == []
    assert good.json["tasks"]["failed"] > 0
    assert good.json["tasks"]["lost"] > 0
    assert good.json["scenario"]["name"] == "orders"
    assert (folder / "a" / "my_scenario.py").read_text() == source, "the run keeps the source that it was made with"
    again = afterload("report", "a", "--json", "-")
    assert again.json == good.json
    assert bad.status == 4
    assert bad.json["verdict"] == "INCONCLUSIVE"
    line = line_of(wrong, "len(rows.effects) / 0")
    assert f"sub/wrong.py, line {line}: ZeroDivisionError: division by zero (in its check)" in " ".join(bad.json["reasons"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mine.py", "mine.py is there already and is left as it is"),
        ("mine.txt", "mine.txt is no name for a Python file"),
        ("my-scenario.py", "my-scenario.py is no name for a Python file: write, e.g., my_scenario.py"),
        ("nowhere/mine.py", "cannot write nowhere/mine.py: No such file or directory"),
    ],
)
def test_new_overwrites_nothing_and_makes_only_python_files(
    name: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("precious")

    done = CliRunner().invoke(scenarios_main, ["new", name])

    assert done.exit_code == 2
    assert expected in done.output
    assert Path("mine.py").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


WORK = 'Task("write_audit_log", effect="log lines")'
CALL = "SCENARIO = Scenario("
# What is replaced by what, where the fault is then, and what is said of it.
BROKEN = {
    "import": ("import random\n", "import rendom\n", "import rendom", "ModuleNotFoundError: No module named 'rendom'"),
    "syntax": ("return {", "return return {", "return return {", "SyntaxError: invalid syntax"),
    "raises": ("class Order(", "1 / 0\n\n\nclass Order(", "1 / 0", "ZeroDivisionError: division by zero"),
    "missing": (CALL, "SCENE = Scenario(", "", "line 1: it sets no SCENARIO; end it with SCENARIO = Scenario(...)"),
    "no function": ("    world=world,\n", '    world="here",\n', CALL, "SCENARIO.world must be a function, not 'here'"),
    "no task": (WORK, '"write_audit_log"', CALL, "TypeError: each of SCENARIO.tasks must be a Task"),
    "default": ('"100ms", "how', '"100", "how', 'duration("work"', "the default of setting work: '100' is no duration"),
    "forgotten": ("    world=world,\n", "", CALL, "missing 1 required positional argument: 'world'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_with_a_file_is_told_by_file_and_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    old, new, at, expected = BROKEN[name]
    source = STARTING_POINT.replace(old, new, 1)
    assert source != STARTING_POINT
    Path("mine.py").write_text(source)

    with pytest.raises(own.BadScenarioFile) as caught:
        own.load("./mine.py")

    told = str(caught.value)
    assert expected in told
    assert told.startswith("./mine.py, line ")
    assert "\n" not in told
    if at and name not in {"no function", "no task", "forgotten"}:
        assert told.startswith(f"./mine.py, line {line_of(source, at)}:")
    elif at:
        # The call spans lines: which one of them Python names is its own affair.
        start = line_of(source, at)
        assert start <= int(told.split("line ")[1].split(":")[0]) <= start + source[source.index(at) :].count("\n")


def test_a_scenario_of_another_type_is_told_by_the_line_that_sets_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text('"""Mine."""\n\nSCENARIO = {"name": "orders"}\n')

    with pytest.raises(own.BadScenarioFile, match=r"mine\.py, line 3: SCENARIO must be a Scenario, not dict"):
        own.load(str(path))


def test_wrong_files_and_wrong_functions_end_before_anything_is_started(afterload: Afterload, folder: Path) -> None:
    """Exit status 2 or 1, one line, no run directory."""
    no_list = STARTING_POINT.replace("    chance = random.Random(seed)\n", "    return 5\n    chance = random.Random(seed)\n", 1)
    (folder / "traffic.py").write_text(no_list)
    (folder / "missing.py").write_text("x = 5\n")
    for name, status, expected in (
        ("./nothing.py", 2, "there is no file ./nothing.py; make one with: afterload new ./nothing.py"),
        ("./missing.py", 2, "./missing.py, line 1: it sets no SCENARIO"),
        ("traffic.py", 1, "TypeError: traffic must return a list with at least one Request, not 5 (in its traffic)"),
    ):
        done = afterload("run", name)
        assert done.status == status, done.err
        assert expected in done.err
        assert "Traceback" not in done.err
    assert not (folder / "runs").exists()


def test_an_app_and_a_world_that_raise_are_told_by_their_line(afterload: Afterload, folder: Path) -> None:
    """Both at once: what the error says is enough to find the place."""
    app = STARTING_POINT.replace('api_app = api(title="orders")', 'api_app = api(title="orders" + 5)', 1)
    world = STARTING_POINT.replace('name="audit", index=0', 'name="audit", indexx=0', 1)
    (folder / "app.py").write_text(app)
    (folder / "world.py").write_text(world)

    with ThreadPoolExecutor(2) as pool:
        of_app, of_world = pool.map(lambda name: afterload("run", f"./{name}.py", "--out", name), ("app", "world"))

    assert of_app.status == of_world.status == 1
    assert f'app.py", line {line_of(app, "+ 5)")}' in of_app.err
    assert "TypeError" in of_app.err
    assert f"./world.py, line {line_of(world, 'indexx')}: TypeError:" in of_world.err
    assert "(in its world)" in of_world.err


def test_what_lies_beside_the_file_can_be_imported_and_hides_nothing(tmp_path: Path) -> None:
    """A `server.py` in the same folder is not taken for ours."""
    (tmp_path / "wording_of_mine.py").write_text("NAME = 'orders'\n")
    (tmp_path / "server.py").write_text("raise RuntimeError('the wrong one')\n")
    path = tmp_path / "mine.py"
    path.write_text(STARTING_POINT.replace("import random\n", "import random\nimport wording_of_mine\n", 1))

    assert own.load(str(path)).name == "orders"


def test_the_starting_point_explains_itself() -> None:
    """It is meant to be read: every part of a scenario has its words, and nothing in it is left to be filled in."""
    tree = ast.parse(STARTING_POINT)
    functions = [each for each in tree.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))]

    assert [each.name for each in functions] == ["Order", "app", "traffic", "world", "check"]
    assert all(ast.get_docstring(each) for each in functions)
    assert [f"# {number}. " in STARTING_POINT for number in range(1, 6)] == [True] * 5
    assert "TODO" not in STARTING_POINT
    assert json.dumps(own.load(str(Path(own.__file__).with_name("starting_point.py"))).describe("sync", {}))  # type: ignore[arg-type]
