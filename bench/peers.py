"""The servers that are compared: how each is started. The peers live in an environment of their own (`bench/peers.txt`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

from harness.errors import UsageError
from harness.servers import HOST

__all__ = ["POOL", "ROOT", "Engine", "command", "peer_versions"]

ROOT = Path(__file__).resolve().parent.parent
POOL = 40
"""Task threads of every server: Starlette's limit, which cannot be set from outside."""

Engine = Literal["bundled", "uvicorn", "granian", "fastrapi"]

_PYTHON = ROOT / ".make" / "peers" / "bin" / "python"
_SHOWN = ("fastapi", "starlette", "pydantic", "uvicorn", "uvloop", "httptools", "anyio", "granian", "fastrapi")


def command(engine: Engine, port: int) -> list[str]:
    """The command that serves on the port: one process, no access log, the event loop that the peer is quickest with."""
    python = str(_PYTHON)
    if engine == "bundled":
        return [sys.executable, "-m", "server", "bench.app:app", "--host", HOST, "--port", str(port), "--pool", str(POOL)]
    if engine == "uvicorn":
        options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning", "--workers", "1"]
        return [python, "-m", "uvicorn", "bench.app:app", "--host", HOST, "--port", str(port), *options]
    if engine == "granian":
        options = [
            "--interface",
            "asgi",
            "--loop",
            "uvloop",
            "--workers",
            "1",
            "--no-ws",
            "--http",
            "1",
            "--log-level",
            "warning",
        ]
        return [python, "-m", "granian", *options, "--host", HOST, "--port", str(port), "bench.app:app"]
    return [python, "-m", "bench.fastrapi_app", HOST, str(port)]


def peer_versions() -> dict[str, str]:
    """Versions of the peers' packages. Raises UsageError if their environment has not been made."""
    hint = "make it with `make .make/peers/ready` (`make bench` does)"
    if not _PYTHON.exists():
        raise UsageError("the peers are not installed", hint)
    script = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    asked = subprocess.run([_PYTHON, "-c", script, *_SHOWN], capture_output=True, text=True, check=False, timeout=30)
    if asked.returncode:
        raise UsageError("the peers' environment is not complete", hint)
    return dict(zip(_SHOWN, asked.stdout.split(), strict=True))
