"""What this machine has for runs, and what to do about what it has not. Looks only; starts and changes nothing."""

from __future__ import annotations

import importlib.util
import os
import platform
import resource
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

import psutil

from harness.calibration import recorded

__all__ = ["Check", "State", "examine"]

State = Literal["ok", "warning", "absent", "missing"]
"""`absent` is something that only some runs need; without what is `missing` there is no run at all."""

_FILES: Final = 4096
_PORTS: Final = 10_000
_FREE_BYTES: Final = 1 << 30
_GOOD_CLOCKS: Final = frozenset({"tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"})
"""Clock sources of Linux that are read without a system call: each row costs several readings."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: State
    text: str
    advice: str = ""


def examine(folder: Path) -> list[Check]:
    """Everything, in the order in which it matters. `folder` is where run directories would go."""
    return [_system(), _python(), _native(), *_machine(folder), _generator(), *_engines(), *_databases()]


def _system() -> Check:
    text = f"{platform.system()} {platform.release()} {platform.machine()}"
    if platform.system() == "Linux":
        return Check("system", "ok", text)
    return Check(
        "system", "missing", text, "afterload needs Linux: it freezes, follows and reaps processes as only Linux lets it"
    )


def _python() -> Check:
    return Check("python", "ok", f"{platform.python_implementation()} {platform.python_version()}")


def _native() -> Check:
    found = importlib.util.find_spec("server")
    folders = (found.submodule_search_locations if found is not None else None) or ()
    built = [path for folder in folders for path in Path(folder).glob("_native*.so")]
    if built:
        return Check("bundled server", "ok", f"built ({built[0].name})")
    return Check("bundled server", "missing", "its compiled part is not there", "build it with `make install`")


def _machine(folder: Path) -> Iterator[Check]:
    cores = len(os.sched_getaffinity(0))
    few = "server, load and world share one core: the figures will say more about that than about the server" if cores < 2 else ""
    yield Check("cores", "warning" if few else "ok", f"{cores}", few)
    load = os.getloadavg()[0]
    busy = "something else runs here: look at it with top, or the load comes late" if load > cores / 2 else ""
    yield Check("load average", "warning" if busy else "ok", f"{load:.2f}", busy)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = f"more than {soft - 100} requests at a time will fail: ulimit -n {min(65_536, hard)}" if soft < _FILES else ""
    yield Check("open files", "warning" if few else "ok", f"{soft:,} for each process", few)
    low, high = _numbers("/proc/sys/net/ipv4/ip_local_port_range", (32_768, 60_999))
    few = "sysctl net.ipv4.ip_local_port_range='10240 60999'" if high - low < _PORTS else ""
    yield Check("ports", "warning" if few else "ok", f"{high - low + 1:,} for connections of the load", few)
    clock = _text("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    slow = (
        ""
        if not clock or clock in _GOOD_CLOCKS
        else f"{clock} takes a system call for each reading, and each row several of them"
    )
    yield Check("clock", "warning" if slow else "ok", clock or "unknown source", slow)
    free = psutil.disk_usage(str(folder)).free
    little = "runs write some 100 bytes for each request and task, `files` some 100 MB" if free < _FREE_BYTES else ""
    yield Check("disk", "warning" if little else "ok", f"{free / 1e9:.1f} GB free", little)


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


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _numbers(path: str, otherwise: tuple[int, int]) -> tuple[int, int]:
    parts = _text(path).split()
    return (int(parts[0]), int(parts[1])) if len(parts) == 2 else otherwise
