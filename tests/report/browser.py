"""A headless Chromium, spoken to over the DevTools protocol: pages as people see them, and what went wrong in them."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
LIMIT_S = 30.0


def program() -> str | None:
    """The browser of this machine."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own in `folder`; its whole process group is ended afterwards."""
    command = [
        program() or PROGRAMS[0],
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-first-run",
        "--hide-scrollbars",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder}",
        "about:blank",
    ]
    folder.mkdir(parents=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        yield Browser(_port(folder, process))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _port(folder: Path, process: subprocess.Popen[bytes]) -> tuple[int, str]:
    end = time.monotonic() + LIMIT_S
    said = folder / "DevToolsActivePort"
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(FileNotFoundError, ValueError):
            port, path = said.read_text().split("\n")[:2]
            return int(port), path
        time.sleep(0.02)
    raise AssertionError(f"the browser did not start:\n{(folder / 'log').read_text(errors='replace')}")


class Browser:
    """Opens pages."""

    def __init__(self, address: tuple[int, str]) -> None:
        self._address = address

    @contextlib.contextmanager
    def page(self, path: Path, *, width: int = 1200, height: int = 900, dark: bool = False, scale: float = 1.0) -> Iterator[Page]:
        """The file at `path`, loaded, with its charts drawn."""
        port, root = self._address
        with connect(f"ws://127.0.0.1:{port}{root}", max_size=None) as connection:
            page = Page(connection)
            try:
                page.open(path, width=width, height=height, dark=dark, scale=scale)
                yield page
            finally:
                page.close()


class Page:
    """One page, and everything that it complained of."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0
        self._session = ""
        self.problems: list[str] = []  # console errors and warnings, exceptions, refused content
        self.requested: list[str] = []  # addresses that it asked for
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._target = target
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")

    def open(self, path: Path, *, width: int, height: int, dark: bool, scale: float) -> None:
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        self._ask("Page.navigate", url=path.as_uri())
        self.until("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise AssertionError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def until(self, condition: str) -> None:
        """Waits until the expression is true."""
        end = time.monotonic() + LIMIT_S
        while not self.run(condition):
            assert time.monotonic() < end, f"never came true: {condition}\n{self.problems}"
            time.sleep(0.02)

    def screenshot(self, path: Path, *, whole: bool = True) -> Path:
        """A PNG of the page."""
        found = self._ask(
            "Page.captureScreenshot", format="png", captureBeyondViewport=whole, **({"clip": self._all()} if whole else {})
        )
        path.write_bytes(base64.b64decode(found["data"]))
        return path

    def printed(self, path: Path) -> Path:
        """The page as a PDF, on A4."""
        found = self._ask("Page.printToPDF", printBackground=True, paperWidth=8.27, paperHeight=11.69, preferCSSPageSize=True)
        path.write_bytes(base64.b64decode(found["data"]))
        return path

    def move(self, x: float, y: float) -> None:
        """Points at a place of the view."""
        self._ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def drag(self, from_x: float, to_x: float, y: float) -> None:
        """Drags along a line."""
        for kind, x in (
            ("mouseMoved", from_x),
            ("mousePressed", from_x),
            ("mouseMoved", (from_x + to_x) / 2),
            ("mouseMoved", to_x),
        ):
            self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)
        self._ask("Input.dispatchMouseEvent", type="mouseReleased", x=to_x, y=y, button="left", clickCount=1)

    def key(self, name: str) -> None:
        """Presses a key."""
        for kind in ("keyDown", "keyUp"):
            self._ask("Input.dispatchKeyEvent", type=kind, key=name, code=name)

    def close(self) -> None:
        """Closes the page."""
        self._session = ""
        self._ask("Target.closeTarget", targetId=self._target)

    def _all(self) -> dict[str, float]:
        height = self.run("document.documentElement.scrollHeight")
        return {"x": 0, "y": 0, "width": self.run("innerWidth"), "height": height, "scale": 1}

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._connection.send(json.dumps(message))
        while True:
            heard = json.loads(self._connection.recv(timeout=LIMIT_S))
            if heard.get("id") == self._number:
                if "error" in heard:
                    raise AssertionError(f"{method}: {heard['error']}")
                found: dict[str, Any] = heard["result"]
                return found
            self._note(heard)

    def _note(self, heard: dict[str, Any]) -> None:
        params = heard.get("params", {})
        match heard.get("method"):
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.problems.append(f"{details['text']} {details.get('exception', {}).get('description', '')}")
            case "Runtime.consoleAPICalled" if params["type"] in {"error", "warning", "assert"}:
                self.problems.append(" ".join(str(arg.get("value", arg.get("description"))) for arg in params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in {"error", "warning"}:
                self.problems.append(params["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requested.append(params["request"]["url"])
