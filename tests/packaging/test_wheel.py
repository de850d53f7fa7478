"""The distribution: a wheel built from a clean clone holds exactly what it should and works in an empty environment."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterable, Sequence
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.judged import require_judged, summary_in

ROOT = Path(__file__).resolve().parents[2]
ACCELERATOR = "harness/probe/afterload_probe/_accelerator.abi3.so"
PACKAGES = ("server", "scenarios", "harness", "dashboard")

pytestmark = pytest.mark.timeout(600)


def tracked(*patterns: str) -> set[str]:
    done = subprocess.run(["git", "ls-files", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of what is committed. Where make has built just that, its objects are taken: to compile them again takes minutes."""
    folder = tmp_path_factory.mktemp("wheel")
    dist, environment = folder / "dist", {**os.environ, "PYO3_PYTHON": sys.executable}
    changes = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tree = ROOT
    if changes or not (ROOT / ".make" / "built").exists():
        tree = folder / "clone"
        subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(tree)], check=True)
        environment["CARGO_TARGET_DIR"] = target = str(ROOT / "server" / "target")
        probe = ["cargo", "build", "--locked", "--release", "-q", "-p", "afterload-probe"]
        subprocess.run(probe, cwd=tree / "server", env={**environment, "PYO3_BUILD_EXTENSION_MODULE": "1"}, check=True)
        shutil.copy(Path(target) / "release" / "lib_accelerator.so", tree / ACCELERATOR)
    build = ["build", "--release", "--locked", "-q", "-i", sys.executable, "-o", str(dist)]
    subprocess.run([sys.executable, "-m", "maturin", *build], cwd=tree, env=environment, check=True)
    (built,) = dist.glob("*.whl")
    return built


def test_the_wheel_holds_the_four_packages_the_compiled_modules_and_nothing_else(wheel: Path) -> None:
    """No sources of Rust, no build output, no tests, nothing untracked."""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    code = {name for name in names if not name.startswith("afterload-")}
    compiled = {name for name in code if name.startswith("server/_native.") and name.endswith(".so")}
    pages = ("harness/report/**", "harness/compare/page/**", "harness/capacity/page/**", "**.tcss")
    expected = tracked(*(f"{package}/**.py" for package in PACKAGES), "server/_native.pyi", "**/py.typed", *pages)

    assert len(compiled) == 1
    assert ACCELERATOR in code
    assert code - compiled - {ACCELERATOR} == {name for name in expected if name.split("/")[0] in PACKAGES}
    metadata = {name.split("/", 1)[1] for name in names - code}
    assert metadata >= {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}


def needed(requirements: Sequence[str]) -> dict[str, Distribution]:
    """The distributions that these need, with theirs, of those that are installed where the tests run."""
    found: dict[str, Distribution] = {}
    seen = set()
    left = [Requirement(each) for each in requirements]
    while left:
        each = left.pop()
        name = canonicalize_name(each.name)
        if (name, frozenset(each.extras)) in seen:
            continue
        seen.add((name, frozenset(each.extras)))
        found[name] = distribution(name)
        own = [Requirement(text) for text in found[name].requires or ()]
        extras = {"", *each.extras}
        left += [it for it in own if it.marker is None or any(it.marker.evaluate({"extra": extra}) for extra in extras)]
    return found


def put_into(library: Path, distributions: Iterable[Distribution]) -> None:
    """The files of each, without its programs: as links where that can be, since they are hundreds of megabytes."""
    for each in distributions:
        for file in each.files or ():
            if ".." in file.parts:
                continue
            there = library / file
            there.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(str(file.locate()), there)
            except OSError:
                shutil.copy2(str(file.locate()), there)


def test_the_wheel_works_with_what_it_says_that_it_needs_and_nothing_else(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own, run from an empty folder, with a kill in the middle.

    What it says that it needs is taken from where the tests run, which pip has filled by the same list.
    """
    home = tmp_path / "environment"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    (library,) = home.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        says = email.message_from_bytes(archive.read(metadata)).get_all("Requires-Dist", [])
    put_into(library, needed([each for each in says if "extra ==" not in each]).values())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run([*pip, "install", "-q", "--no-deps", "--no-index", "--no-compile", str(wheel)], check=True)
    checked = subprocess.run([*pip, "check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    folder = tmp_path / "empty"
    folder.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def ran(*command: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*map(str, command)], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    given = ["run", "email", "--rate", "50", "--pool", "2", "--for", "2s", "--fault", "kill@1s"]
    done = ran(home / "bin" / "afterload", *given)
    require_judged(done.returncode, summary_in(folder / "runs" / "latest"), done.stdout + done.stderr)
    assert "broken promises" in done.stdout

    where = ran(python, "-c", "import server._native; print(server._native.__file__)")
    assert where.stdout.startswith(str(home)), where.stderr
    loaded = "import harness, sys; sys.path.insert(0, harness.__path__[0] + '/probe'); from afterload_probe import accelerator"
    found = ran(python, "-c", f"{loaded}; print(accelerator.module.__file__)")
    assert found.stdout.startswith(str(home)), found.stderr
