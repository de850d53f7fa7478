"""What this machine has for runs, and what to do about what it has not. Looks only; starts and changes nothing."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from harness.calibration import recorded
from harness.check import Check, State
from harness.host import Host
from harness.machine_checks import machine_checks

__all__ = ["Check", "State", "examine"]


def examine(folder: Path) -> list[Check]:
    """Everything, in the order in which it matters. `folder` is where run directories would go."""
    return [
        _system(),
        _python(),
        _packages(),
        _native(),
        *machine_checks(folder, Host()),
        _generator(),
        *_engines(),
        *_databases(),
        *_tools(),
    ]


def _system() -> Check:
    text = f"{platform.system()} {platform.release()} {platform.machine()}"
    if platform.system() == "Linux":
        return Check("system", "ok", text)
    return Check(
        "system", "missing", text, "afterload needs Linux: it freezes, follows and reaps processes as only Linux lets it"
    )


def _python() -> Check:
    text = f"{platform.python_implementation()} {platform.python_version()}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        gil = "the bundled server is not tried on a free-threaded build: use an ordinary one for it"
        return Check("python", "warning", f"{text}, free-threaded", gil)
    return Check("python", "ok", text)


_LOAD = ("locust", "gevent", "geventhttpclient", "numpy", "psutil", "httpx", "pydantic")


def _packages() -> Check:
    found = {name: _version(name) for name in _LOAD}
    gone = [name for name, version in found.items() if not version]
    text = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    if gone:
        return Check("packages", "missing", text, f"not installed: {', '.join(gone)}: pip install afterload brings them")
    return Check("packages", "ok", text)


def _native() -> Check:
    found = importlib.util.find_spec("server")
    folders = (found.submodule_search_locations if found is not None else None) or ()
    built = [path for folder in folders for path in Path(folder).glob("_native*.so")]
    if built:
        return Check("bundled server", "ok", f"built ({built[0].name})")
    return Check("bundled server", "missing", "its compiled part is not there", "build it with `make install`")


def _generator() -> Check:
    found = recorded(1)
    again = "afterload doctor --calibrate"
    if found is None:
        advice = f"{again} measures what it can send here (a run that asks for much does so by itself)"
        return Check("load generator", "absent", "not calibrated on this machine", advice)
    text = f"{found.ceiling_per_s:,.0f} requests/s from one process; at little load its lag is {found.lag_p99_ms:.2g} ms (p99)"
    more = recorded(len(os.sched_getaffinity(0)))
    if more is not None and more.processes > 1:
        text += f"; {more.ceiling_per_s:,.0f} from {more.processes}"
    disturbed = f"something else ran while it was measured: {again} measures it again" if found.is_disturbed else ""
    return Check("load generator", "warning" if disturbed else "ok", text, disturbed)


def _engines() -> Iterator[Check]:
    for name, extra in (("uvicorn", "uvicorn[standard]"), ("granian", "afterload[granian]")):
        version = _version(name)
        if version:
            yield Check(f"--engine {name}", "ok", f"{name} {version}")
        else:
            yield Check(f"--engine {name}", "absent", f"{name} is not installed", f"pip install '{extra}'")


def _databases() -> Iterator[Check]:
    redis = shutil.which("redis-server")
    yield Check(
        "Redis",
        "ok" if redis else "absent",
        "redis-server is there" if redis else "no redis-server; `--redis URL` takes one anywhere, tests start one",
        "" if redis else "Debian: apt-get install redis-server",
    )
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    postgres = shutil.which("initdb") or next((str(each / "initdb") for each in folders if (each / "initdb").exists()), None)
    psycopg = _version("psycopg")
    if postgres and psycopg:
        yield Check("PostgreSQL", "ok", f"initdb is there, psycopg {psycopg}")
        return
    lacking = [*(["initdb (tests start a server of their own)"] if not postgres else []), *(["psycopg"] if not psycopg else [])]
    advice = [
        *(["Debian: apt-get install postgresql"] if not postgres else []),
        *(["pip install 'afterload[postgres]' for --postgres URL"] if not psycopg else []),
    ]
    yield Check("PostgreSQL", "absent", f"not there: {', '.join(lacking)}", "; ".join(advice))


def _tools() -> Iterator[Check]:
    """What only building from source, benches and the repository's state need."""
    cargo = shutil.which("cargo")
    built = "" if cargo else "only for building the bundled server from source: https://rustup.rs"
    yield Check("Rust", "ok" if cargo else "absent", "cargo is there" if cargo else "no cargo", built)
    git = shutil.which("git")
    unsaid = "" if git else "without it runs do not say which commit they were made of"
    yield Check("git", "ok" if git else "absent", "git is there" if git else "no git", unsaid)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
