"""The distribution: a wheel built from a clean clone holds exactly what it should and works in an empty environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

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


def test_the_wheel_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """Installed with its dependencies and run from an empty folder, with a kill in the middle."""
    home = tmp_path / "environment"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    install = [
        python,
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        "--no-compile",
        "-c",
        ROOT / "constraints.txt",
        wheel,
    ]
    subprocess.run(install, check=True)
    folder = tmp_path / "empty"
    folder.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    given = ["run", "email", "--rate", "50", "--pool", "2", "--for", "2s", "--fault", "kill@1s"]

    done = subprocess.run(
        [home / "bin" / "afterload", *given], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    require_judged(done.returncode, summary_in(folder / "runs" / "latest"), done.stdout + done.stderr)
    assert "broken promises" in done.stdout
    where = subprocess.run(
        [python, "-c", "import server._native; print(server._native.__file__)"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(home))
    loaded = "import harness, sys; sys.path.insert(0, harness.__path__[0] + '/probe'); from afterload_probe import accelerator"
    found = subprocess.run(
        [python, "-c", f"{loaded}; print(accelerator.module.__file__)"], cwd=folder, capture_output=True, text=True
    )
    assert found.stdout.startswith(str(home)), found.stderr
