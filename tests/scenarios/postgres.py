"""A PostgreSQL server of the test's own: in a temporary folder, on a free port, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.ports import free_port

USER = "postgres"


def missing() -> str | None:
    """Why there can be no server; None if there can."""
    if not _programs():
        return "PostgreSQL is not installed (initdb and pg_ctl were not found)"
    if os.getuid() == 0:
        # PostgreSQL refuses to run as root.
        if shutil.which("runuser") is None:
            return "PostgreSQL does not run as root, and there is no runuser to run it as somebody else"
        if USER not in {user.pw_name for user in pwd.getpwall()}:
            return f"PostgreSQL does not run as root, and there is no user {USER}"
    return None


@contextmanager
def postgres() -> Iterator[str]:
    """Starts it; the URL of its database. Nothing is synchronised with the disk: it lives for one test."""
    # Not below pytest's own folder, which another user may not enter.
    folder = Path(tempfile.mkdtemp(prefix="afterload-postgres-"))
    port = free_port()
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    try:
        if os.getuid() == 0:
            shutil.chown(folder, USER)
        _run("initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "afterload", "--no-sync")
        _run("pg_ctl", "-D", f"{folder}/data", "-l", f"{folder}/log", "-w", "-o", options, "start")
        try:
            yield f"postgresql://afterload@127.0.0.1:{port}/postgres"
        finally:
            _run("pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder)


def _programs() -> Path | None:
    """The folder that holds both; Debian keeps them out of the path."""
    found = shutil.which("initdb")
    folders = [
        *([Path(found).resolve().parent] if found else []),
        *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True),
    ]
    return next((each for each in folders if (each / "initdb").exists() and (each / "pg_ctl").exists()), None)


def _run(program: str, *given: str) -> None:
    programs = _programs()
    assert programs is not None
    become = ["runuser", "-u", USER, "--"] if os.getuid() == 0 else []
    done = subprocess.run(
        [*become, str(programs / program), *given],
        stdout=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        check=False,
    )
    assert done.returncode == 0, f"{program}: {done.stdout}"
