"""The public names of the server: the same for whoever runs it and for a type checker, and each imported when it is asked for."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import fastapi
import pytest

import server


def declared() -> dict[str, tuple[str, str]]:
    """What a type checker reads: by name, from which module, and under which name there."""
    source = ast.parse(Path(server.__file__).read_text(encoding="utf-8"))
    checked = next(node for node in source.body if isinstance(node, ast.If))
    found = {
        alias.asname or alias.name: (str(node.module), alias.name)
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    aliases = (node for node in checked.body if isinstance(node, ast.Assign))
    return found | {str(ast.unparse(node.targets[0])): found[ast.unparse(node.value)] for node in aliases}


def test_a_type_checker_sees_exactly_the_names_that_there_are():
    assert sorted(declared()) == sorted(server.__all__)
    assert {*server.__all__} <= {*dir(server)}


@pytest.mark.parametrize("name", server.__all__)
def test_each_name_is_what_a_type_checker_takes_it_for(name: str):
    module, original = declared()[name]
    __import__(module)
    assert getattr(server, name) is getattr(sys.modules[module], original)


def test_a_name_that_is_not_there_is_an_error_as_in_any_module():
    with pytest.raises(AttributeError, match="module 'server' has no attribute 'FlaskAPI'"):
        server.FlaskAPI  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'FlaskAPI' from 'server'"):
        from server import FlaskAPI  # noqa: F401


def test_its_class_is_found_under_the_name_that_examples_import():
    assert server.FastAPI is server.FastrAPI
    assert issubclass(server.FastAPI, fastapi.FastAPI)


def test_the_rows_alone_import_no_fastapi():
    code = "import sys; from server import EffectRows; sys.exit('fastapi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
