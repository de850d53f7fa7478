"""Loading a scenario from somebody's own file, and telling them what is wrong with it: file, line, cause."""

from __future__ import annotations

import ast
import importlib.util
import sys
import traceback
from pathlib import Path
from types import TracebackType

from scenarios.scenario import Scenario

__all__ = ["BadScenarioFile", "blame", "load", "looks_like_a_file"]


class BadScenarioFile(Exception):
    """A file that holds no scenario. The text names file and line."""


def looks_like_a_file(name: str) -> bool:
    """Whether `name` is that of a file and not of a scenario of ours."""
    return name.endswith(".py") or "/" in name


def load(name: str) -> Scenario:
    """The `SCENARIO` of the file. Raises BadScenarioFile."""
    path = Path(name)
    if not path.is_file():
        msg = f"there is no file {name}; make one with: afterload new {name}"
        raise BadScenarioFile(msg)
    module_name = f"afterload_own_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path.resolve())
    if spec is None or spec.loader is None:
        msg = f"{name} is no Python file: its name must end in .py"
        raise BadScenarioFile(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    # What lies beside it can be imported, but hides nothing that was there before.
    sys.path.append(str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        where = name if error.filename in {None, str(path.resolve())} else error.filename
        msg = f"{where}, line {error.lineno}: SyntaxError: {error.msg}"
        raise BadScenarioFile(msg) from None
    except Exception as error:  # noqa: BLE001  # whatever somebody's file does
        msg = blame(name, error)
        raise BadScenarioFile(msg) from None
    found = getattr(module, "SCENARIO", None)
    if isinstance(found, Scenario):
        return found
    line = _assigned_at(path)
    if line is None:
        msg = f"{name}, line 1: it sets no SCENARIO; end it with SCENARIO = Scenario(...), as a file from `afterload new` does"
        raise BadScenarioFile(msg)
    msg = f"{name}, line {line}: SCENARIO must be a Scenario, not {type(found).__name__}"
    raise BadScenarioFile(msg)


def blame(name: str, error: BaseException) -> str:
    """`error` in one line, with the last line of the file `name` that it came through."""
    return f"{name}{_line_in(Path(name).resolve(), error.__traceback__)}: {type(error).__name__}: {error}"


def _line_in(path: Path, trace: TracebackType | None) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(trace) if Path(frame.filename).resolve() == path]
    return f", line {lines[-1]}" if lines else ""


def _assigned_at(path: Path) -> int | None:
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "SCENARIO" for target in targets):
            return statement.lineno
    return None
