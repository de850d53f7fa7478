"""The probe in a process that calls its app itself, without a server: what no server would let one try."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from .probed import PROBE

CALLS = """
import asyncio, time
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from afterload_probe import process

async def plain(request):
    return PlainTextResponse("here")

async def hold(request):
    await asyncio.sleep(0.1)
    process.current.page._n_touched = 0
    process.current.sampler.has_beaten(next(iter(process.current.sampler.loops.values())), time.monotonic_ns())
    time.sleep(0.6)
    return PlainTextResponse("held")

app = Starlette(routes=[Route("/plain", plain), Route("/hold", hold)])
said = []

async def ask(path):
    async def receive(): return {"type": "http.request", "body": b""}
    async def send(message): said.append(message["type"])
    await app({"type": "http", "method": "GET", "path": path, "root_path": "", "query_string": b""}, receive, send)

async def main():
    for path in PATHS:
        await asyncio.create_task(ask(path))
    await asyncio.sleep(0.3)

asyncio.run(main())
print(len(said))
"""


def asked(folder: Path, *paths: str) -> tuple[int, list[str]]:
    """How many messages came back, and the kinds of the notes."""
    given = {**os.environ, "PYTHONPATH": str(PROBE), "AFTERLOAD_PROBE_ROWS": str(folder / "tasks-3.rows")}
    code = f"PATHS = {paths!r}\n{CALLS}"
    done = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, timeout=30, check=True)
    notes = [json.loads(line) for path in folder.glob("*.notes.jsonl") for line in path.read_text().splitlines()]
    return int(done.stdout), [note["kind"] for note in notes]


def test_a_request_whose_scope_has_no_headers_is_answered(tmp_path: Path) -> None:
    """Some clients of tests make such scopes. The second request goes the usual way."""
    assert asked(tmp_path, "/plain", "/plain", "/plain") == (6, ["hooked"])


def test_a_loop_that_blocks_just_after_rows_were_wanted_is_seen(tmp_path: Path) -> None:
    """The alarm has rung for memory then, and no beat puts it off again."""
    assert asked(tmp_path, "/plain", "/hold") == (4, ["hooked", "blocked"])
