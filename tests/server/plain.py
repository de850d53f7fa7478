"""Plain FastAPI on uvicorn: what an app's source does where the bundled server is not."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from .helpers import until

_RUNNING = re.compile(r"running on http://127\.0\.0\.1:(\d+)")


class PlainServer:
    """`uvicorn appmod:app` in its own session, the source's `server` replaced by `fastapi`."""

    def __init__(self, folder: Path, source: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "appmod.py").write_text(source.replace("from server import", "from fastapi import"), encoding="utf-8")
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "appmod:app", "--host", "127.0.0.1", "--port", "0", "--no-access-log"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "0"},
            )
        try:
            found = until(lambda: _RUNNING.search(self.output()), "uvicorn is ready")
        except BaseException:
            self.end()
            raise
        self.port = int(found[1])

    def output(self) -> str:
        """All that was printed and logged so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def end(self) -> None:
        """Kills and reaps it."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
