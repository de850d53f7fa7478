"""Each server that people run an ASGI app with: which of its processes write, and that the app is as it was."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.grouping import TaskState, states
from harness.rows import DropReason
from tests.server.helpers import until

from .conftest import Start
from .probed import HERE, PROBE, uvicorn

PY = sys.executable
WORKER = "uvicorn.workers.UvicornWorker"
GUNICORN = [PY, "-W", "ignore", "-m", "gunicorn", "-b", "127.0.0.1:{port}", "-k", WORKER, "--no-control-socket"]

COMMANDS = {
    "uvicorn, asyncio, h11": uvicorn("--loop", "asyncio", "--http", "h11"),
    "uvicorn, uvloop, httptools": uvicorn("--loop", "uvloop", "--http", "httptools"),
    "granian": [PY, "-m", "granian", "--interface", "asgi", "--port", "{port}", "app:app"],
    "hypercorn": [PY, "-m", "hypercorn", "-b", "127.0.0.1:{port}", "app:app"],
    "gunicorn": [*GUNICORN, "app:app"],
    "python main.py": [PY, "main.py", "{port}"],
}

WORKERS = {
    "uvicorn --workers 2": uvicorn("--workers", "2"),
    "gunicorn --preload -w 2": [*GUNICORN, "--preload", "-w", "2", "app:app"],
    "granian --workers 2": [PY, "-m", "granian", "--interface", "asgi", "--workers", "2", "--port", "{port}", "app:app"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_task_is_seen_under_every_server(start: Start, command: list[str]):
    """One process writes, the one that serves; the tasks run as they always did."""
    server = start(command).wait_ready()
    assert server.ask("/two", 1) == 200
    tasks = server.wait_tasks(1, 2)
    assert [task.name for task in tasks] == ["plain", "coro"]
    for task in tasks:
        assert task.accepted <= task.flushed <= task.started <= task.finished
    server.ask("/five", 2)
    assert [bool(task.finished) for task in server.wait_tasks(2, 5)] == [True, True, False, False, False]
    server.ask("/spawn", 3)
    assert len(server.wait_tasks(3, 4)) == 4
    (file,) = server.files()
    (note,) = server.notes("hooked")
    assert {"BackgroundTask", "Response.__call__", "Starlette.__call__"} <= set(note["hooks"])  # type: ignore[call-overload]
    assert {"python", "starlette", "anyio", "fastapi"} <= set(note["versions"])  # type: ignore[call-overload]
    assert server.notes("unhooked") == []
    assert (file.boot, file.names[0]) == (3, "")


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_what_the_app_cancels_while_its_server_serves_has_ended(start: Start, command: list[str]):
    """However often that server has run its loop by then: no stop has lost it."""
    server = start(command).wait_ready()
    server.ask("/spawn-for-long", 1)
    until(lambda: sum(bool(task.started) for task in server.tasks(1)) == 2, "both run")
    server.ask("/cancel-kept")
    tasks = server.wait_tasks(1, 2)
    assert [(task.reason, task.failed > task.started, task.dropped) for task in tasks] == [(DropReason.CANCELLED, True, 0)] * 2


UNTOLD = {f"uvicorn, {loop}, not told": uvicorn("--loop", loop, "--lifespan", "off") for loop in ("asyncio", "uvloop")}


@pytest.mark.parametrize("command", [*COMMANDS.values(), *UNTOLD.values()], ids=[*COMMANDS, *UNTOLD])
def test_what_goes_on_when_a_server_ends_is_left_over(start: Start, command: list[str]):
    """By the loop that is wound down, or by the app that is told to end, whoever sent the signal: it does not count as failed."""
    server = start(command).wait_ready()
    server.ask("/spawn-for-long", 1)
    assert len(server.wait_tasks(1, 2, ended=False)) == 2
    # By SIGTERM uvicorn ends before its loop is wound down.
    server.signal(signal.SIGINT if "off" in command else signal.SIGTERM)
    server.wait_end()
    (file,) = server.files()
    assert (file.closed_ns, list(states(file.rows, reaped=True))) == (0, [TaskState.INTERRUPTED] * 2)


@pytest.mark.parametrize("command", WORKERS.values(), ids=WORKERS.keys())
def test_each_worker_writes_a_file_of_its_own_and_its_parent_none(start: Start, command: list[str]):
    """Spawned or forked, before or after the import of the app."""
    server = start(command).wait_ready()
    until(lambda: len(server.files()) == 2, "both have begun")
    pids = {file.pid for file in server.files()}
    assert len(pids) == 2
    assert server.process.pid not in pids
    assert all(os.getpgid(pid) for pid in pids)
    for number in range(1, 21):
        assert server.ask("/two", number) == 200
    until(lambda: sum(bool(task.finished) for task in server.tasks()) == 40, "all have run")
    assert sum(len(file.rows) for file in server.files()) == 40
    assert {path.name for path in server.paths()} == {f"tasks-3-{pid}.rows" for pid in pids}


def test_a_reloader_writes_nothing(start: Start):
    """Only the process that it starts."""
    server = start(uvicorn("--reload", "--reload-dir", str(HERE))).wait_ready()
    assert server.ask("/two", 1) == 200
    server.wait_tasks(1, 2)
    (file,) = server.files()
    assert file.pid != server.process.pid


@pytest.mark.parametrize("option", ["-I", "-E", "-S"])
def test_a_python_that_does_not_look_at_the_environment_is_left_alone(tmp_path: Path, option: str):
    """Nothing is hooked, nothing written; the command runs."""
    found = run([PY, option, "-c", "import sys; print('afterload_probe' in sys.modules)"], tmp_path)
    assert found.stdout == "False\n"


def test_without_its_variable_the_probe_does_nothing(tmp_path: Path):
    """In front of PYTHONPATH and no more: no finder, no module of its own but the first."""
    code = "import sys; print([m for m in sys.modules if m.startswith('afterload_probe.')], len(sys.meta_path))"
    plain = run([PY, "-c", "import sys; print([], len(sys.meta_path))"], tmp_path, {"PYTHONPATH": ""})
    assert run([PY, "-c", code], tmp_path, {"AFTERLOAD_PROBE_ROWS": ""}).stdout == plain.stdout


def test_a_sitecustomize_and_a_usercustomize_of_somebody_else_run_as_without_it(tmp_path: Path):
    """Further down the path: it runs once, is what `import sitecustomize` gives, and may change the path for good."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nprint('theirs')\nsys.path.append('/added')\nMARK = 5\n")
    (tmp_path / "usercustomize.py").write_text("print('user')\n")
    code = "import sys, sitecustomize; print(sitecustomize.MARK, sitecustomize.__file__, '/added' in sys.path)"
    code = f"import site; site.ENABLE_USER_SITE = True; site.execusercustomize(); {code}"
    both = run([PY, "-c", code], tmp_path, {"PYTHONPATH": f"{PROBE}{os.pathsep}{tmp_path}"})
    alone = run([PY, "-c", code], tmp_path, {"PYTHONPATH": str(tmp_path)})
    assert both.stdout == alone.stdout
    assert both.stdout.splitlines()[0] == "theirs"


@pytest.mark.parametrize("source", ["raise ValueError('theirs')", "import nowhere_at_all", "import sys; sys.exit(7)"])
def test_one_that_raises_raises_as_without_it(tmp_path: Path, source: str):
    """Python says so on stderr and goes on, or ends, as it does."""
    (tmp_path / "sitecustomize.py").write_text(source)
    command = [PY, "-c", "import sys; print('sitecustomize' in sys.modules)"]
    both = run(command, tmp_path, {"PYTHONPATH": f"{PROBE}{os.pathsep}{tmp_path}"})
    alone = run(command, tmp_path, {"PYTHONPATH": str(tmp_path)})
    assert (both.returncode, both.stdout) == (alone.returncode, alone.stdout)
    assert both.stderr.splitlines()[-1:] == alone.stderr.splitlines()[-1:]


def test_where_there_is_none_there_is_none(tmp_path: Path):
    """`import sitecustomize` fails as it would."""
    found = run([PY, "-c", "import sitecustomize"], tmp_path)
    assert found.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'sitecustomize'"


def test_a_starlette_of_another_make_is_said_and_served(start: Start, tmp_path: Path):
    """What cannot be hooked is noted with its reason, the rest is hooked, and the app works."""
    (tmp_path / "odd.py").write_text(
        "import afterload_probe.hooks as hooks\n"
        "hooks.hook_tasks = lambda module: hooks.coroutine_function(hooks.ModuleType, '__repr__')\n"
        "from app import app\n"
    )
    server = start(
        uvicorn("--app-dir", str(tmp_path), target="odd:app"), env={"PYTHONPATH": f"{PROBE}{os.pathsep}{HERE}"}
    ).wait_ready()
    assert server.ask("/two", 1) == 200
    (note,) = server.notes("unhooked")
    assert "starlette.background" in str(note["text"])


def test_an_error_of_the_probe_is_noted_once_and_the_app_goes_on(start: Start, tmp_path: Path):
    """Planted where each request passes and where each task does."""
    (tmp_path / "planted.py").write_text(
        "from app import app\n"
        "from afterload_probe import exchange\n"
        "def broken(*args): raise ZeroDivisionError('planted')\n"
        "for name in ('response_begins', 'start_of', 'end', '_accept'): setattr(exchange.Exchange, name, broken)\n"
    )
    env = {"PYTHONPATH": f"{PROBE}{os.pathsep}{HERE}"}
    server = start(uvicorn("--app-dir", str(tmp_path), target="planted:app"), env=env).wait_ready()
    for _ in range(3):
        assert server.ask("/two") == 200
    assert server.ask("/breaks") == 500
    notes = until(lambda: server.notes("unhooked"), "it is noted")
    places = [str(note["what"]) for note in notes]
    assert len(places) == len(set(places))
    assert all("ZeroDivisionError" in str(note["text"]) for note in notes)


def test_it_imports_the_standard_library_only():
    """So that it works in any environment: nothing of ours, nothing installed."""
    for path in PROBE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module)]
            for name in names:
                top = name.partition(".")[0]
                # anyio comes with Starlette; it is asked for its limiter where it is there.
                assert top in sys.stdlib_module_names or top in {"afterload_probe", "anyio"}, (path, name)


def run(command: list[str], cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, "PYTHONPATH": str(PROBE), "AFTERLOAD_PROBE_ROWS": str(cwd / "tasks-3.rows"), **(env or {})}
    found = subprocess.run(
        command, cwd=cwd, env={**given, "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True, timeout=30
    )
    assert not list(cwd.glob("tasks-3-*"))
    return found


def test_an_older_python_is_named_and_nothing_else_of_the_probe_is_imported(tmp_path: Path):
    """Whatever Python a server runs on reads `sitecustomize.py`; here it is told to be 3.9."""
    path = str(PROBE / "sitecustomize.py")
    code = (
        f"import sys\nsys.version_info = (3, 9, 18, 'final', 0)\ntext = open({path!r}).read()\n"
        f"try: exec(text, {{'__name__': 'sitecustomize', '__file__': {path!r}}})\n"
        "except ModuleNotFoundError: print('afterload_probe' in sys.modules)"
    )
    given = {**os.environ, "PYTHONPATH": "", "AFTERLOAD_PROBE_ROWS": str(tmp_path / "tasks-3.rows")}
    done = subprocess.run([PY, "-S", "-c", code], env=given, capture_output=True, text=True, timeout=30, check=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
    (notes,) = tmp_path.glob("tasks-3-*.notes.jsonl")
    (note,) = map(json.loads, notes.read_text().splitlines())
    assert note["kind"] == "unhooked"
    assert "Python 3.9.18 is too old for the probe, which needs 3.10" in note["text"]
