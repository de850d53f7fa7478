"""The machine and the versions that a run was made with: what somebody would need to make its figures again.

Nothing of it names a user, a host, a path or the value of an environment variable.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import psutil

from harness.host import Host

__all__ = ["COMPARED", "describe_environment", "fingerprint"]

_PACKAGES: Final = (
    *("afterload", "fastapi", "starlette", "anyio", "pydantic", "pydantic-core", "uvicorn", "httptools", "uvloop", "granian"),
    *("locust", "gevent", "geventhttpclient", "numpy", "psutil"),
)

COMPARED: Final = ("cpu", "cpus", "cpu_quota", "governor", "turbo", "memory_gb", "system", "python", "gil", "packages")
"""Two runs whose hash is the same differ in none of these: machine, its limits, interpreter, versions."""

_GIT_S: Final = 2.0


def describe_environment(folder: Path | None = None) -> dict[str, Any]:
    """Machine, interpreter and versions; and the commit of the git repository that `folder` is in, if one is given."""
    host = Host()
    memory = psutil.virtual_memory().total
    described: dict[str, Any] = {
        "began": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": host.cpu,
        "cpus": len(os.sched_getaffinity(0)),
        "cores": host.cores,
        "cpu_quota": host.cpu_quota,
        "governor": host.governor or None,
        "turbo": host.turbo,
        "virtual": host.is_virtual,
        "memory_bytes": memory,
        "memory_limit_bytes": host.memory_limit_bytes,
        "load_average": list(os.getloadavg()),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "clock": host.clock or None,
        "container": host.container or None,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "free_threaded_build": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "git": None if folder is None else _git(folder),
    }
    return {**described, "hash": fingerprint(described)}


def fingerprint(described: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits of what makes two runs comparable. What a load or a commit changes is not in it."""
    # Virtual machines of the same kind differ in memory by some pages.
    rounded = {"memory_gb": round((described.get("memory_limit_bytes") or described.get("memory_bytes") or 0) / 1e9)}
    chosen = {name: rounded[name] if name in rounded else described.get(name) for name in COMPARED}
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:12]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git(folder: Path) -> dict[str, Any] | None:
    """The commit, and whether something was changed since; None: no repository, or no git."""
    commit = _ask_git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    changes = _ask_git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": bool(changes) if changes is not None else None}


def _ask_git(folder: Path, *args: str) -> str | None:
    # Whatever the repository's own settings would start is left out: it is asked, and not used.
    command = ["git", "-C", str(folder), "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", *args]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=_GIT_S,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
