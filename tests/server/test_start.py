"""Starting: routes that cannot be taken and starts that cannot succeed are refused in words; lifespan and documentation."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness.rows import Gauge, HeaderField
from server.__main__ import main
from server._routes import compile_routes

from .conftest import Serve
from .helpers import stub, until

PREAMBLE = """
from collections.abc import Iterator
from typing import Annotated
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel
class Item(BaseModel):
    n: int
def common(): pass
"""

STRICT = "app = FastAPI(strict_fast_path=True)\n"

REFUSED = {
    "a dependency that yields": (
        'def d():\n    yield 1\n@app.get("/r")\ndef r(x=Depends(d)): pass', "/r", "depends on d, which yields",
    ),
    "an asynchronous one": (
        'async def d():\n    yield 1\ndef e(x=Depends(d)): pass\n@app.get("/r")\ndef r(x=Depends(e)): pass',
        "/r", "depends on d, which yields",
    ),
    "middleware": ('@app.middleware("http")\nasync def wrapping(request, call_next): return await call_next(request)\n'
    '@app.get("/r")\ndef r(): pass', "/r", "BaseHTTPMiddleware"),
    "added middleware": ('from starlette.middleware.gzip import GZipMiddleware\napp.add_middleware(GZipMiddleware)\n'
    '@app.get("/r")\ndef r(): pass', "/r", "GZipMiddleware"),
    "a web socket": ('@app.websocket("/r")\nasync def r(ws: WebSocket): pass', "/r", "web socket"),
    "a mounted app": ('app.mount("/r", FastAPI())', "/r", "mounted app"),
    "a Starlette route": ('async def r(request): pass\napp.add_route("/r", r)', "/r", "route of Starlette"),
    "a streaming response class": ('@app.get("/r", response_class=StreamingResponse)\ndef r(): pass', "/r", "StreamingResponse"),
    "a file response class": ('@app.get("/r", response_class=FileResponse)\ndef r(): pass', "/r", "FileResponse"),
    "a path convertor": ('@app.get("/r/{rest:path}")\ndef r(rest: str): pass', "/r/{rest:path}", "convertor"),
    "an int convertor": ('@app.get("/r/{n:int}")\ndef r(n: int): pass', "/r/{n:int}", "convertor"),
    "a part of a segment": ('@app.get("/r/{n}.json")\ndef r(n: int): pass', "/r/{n}.json", "segment"),
    "a generator": ('@app.get("/r")\ndef r() -> Iterator[int]:\n    yield 1', "/r", "stream"),
    "an undeclared generator": (
        '@app.get("/r", response_class=StreamingResponse)\nasync def r():\n    yield b"1"', "/r", "streams its answer",
    ),
    "a body limit of a route": ('@app.post("/r", max_body_size=4)\ndef r(item: Item): pass', "/r", "4 bytes"),
    "a body limit of the app": (
        'app = FastAPI(max_body_size=4, strict_fast_path=True)\n@app.post("/r")\ndef r(item: Item): pass', "/r", "4 bytes",
    ),
    "debug": ('app = FastAPI(debug=True, strict_fast_path=True)\n@app.get("/r")\ndef r(): pass', "/r", "debug"),
    "a route class": (
        'from fastapi.routing import APIRoute\nclass Mine(APIRoute):\n    def get_route_handler(self):\n'
        '        return super().get_route_handler()\n'
        'app.router.route_class = Mine\n@app.get("/r")\ndef r(): pass', "/r", "Mine",
    ),
    "a route class that matches": (
        'from fastapi.routing import APIRoute\nclass Mine(APIRoute):\n    def matches(self, s): return super().matches(s)\n'
        'router = APIRouter(route_class=Mine)\n@router.get("/r")\ndef r(): pass\napp.include_router(router)', "/r", "Mine",
    ),
    "a router class": (
        'class Mine(APIRouter):\n    def matches(self, scope): return super().matches(scope)\nrouter = Mine()\n'
        '@router.get("/r")\ndef r(): pass\nouter = APIRouter()\nouter.include_router(router)\napp.include_router(outer)',
        "/r", "Mine",
    ),
}  # fmt: skip
"""What does not go straight: the app, what names the route, what names the reason."""


def start_here(folder: Path, source: str, monkeypatch: pytest.MonkeyPatch, *options: str) -> Result:
    """Runs the command in this process; only for starts that fail before there is a server."""
    folder.mkdir()
    name = f"refused_{abs(hash((source, folder)))}"
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr("server.__main__.prepare", _compile_only)
    return CliRunner().invoke(main, [f"{name}:app", "--port", "0", *options])


class _compile_only:  # noqa: N801  # stands for server._serve.prepare
    """Compiles the routes and serves nothing."""

    def __init__(self, app: Any, config: object) -> None:
        compile_routes(app, strict=app.strict_fast_path)

    def run(self) -> None:
        pass


@pytest.mark.parametrize("kind", REFUSED)
def test_a_strict_app_refuses_a_route_that_does_not_go_straight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str):
    """Status 2 and one sentence with the route and the reason; no traceback."""
    text, route, reason = REFUSED[kind]
    result = start_here(tmp_path / "app", stub(PREAMBLE + STRICT + text), monkeypatch)
    assert result.exit_code == 2, result.output
    said = result.stderr
    assert "Traceback" not in said
    (sentence,) = [line for line in said.replace("\n    ", " ").splitlines() if line.startswith("Error: ")]
    assert f"{route} cannot be served straight: it " in sentence
    assert reason in sentence


def test_a_strict_app_is_told_all_its_routes_that_do_not_go_straight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Not one after another, start by start."""
    text = '@app.get("/a/{x:path}")\ndef a(x: str): pass\n@app.get("/b")\ndef b(): pass\n@app.get("/c/{n}.json")\ndef c(n): pass'
    result = start_here(tmp_path / "app", stub(PREAMBLE + STRICT + text), monkeypatch)
    assert result.exit_code == 2
    assert "/a/{x:path} cannot" in result.stderr
    assert "/c/{n}.json cannot" in result.stderr
    assert "/b" not in result.stderr


def test_forms_and_files_do_not_go_straight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nor where something that the endpoint depends on takes them."""
    pytest.importorskip("python_multipart")
    for number, parameter in enumerate(("x: Annotated[str, Form()]", "x: Annotated[bytes, File()]", "x: UploadFile")):
        app = f'def d({parameter}): pass\n@app.post("/d")\ndef e(y=Depends(d)): pass\n@app.post("/r")\ndef r({parameter}): pass'
        result = start_here(tmp_path / f"app{number}", stub(PREAMBLE + STRICT + app), monkeypatch)
        assert result.exit_code == 2
        assert result.stderr.replace("\n    ", " ").count("it takes a form or files") == 2, result.output


def test_an_app_that_overrides_nothing_special_is_not_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What only looks special is taken: titles, tags, prefixes, no documentation, own summaries, exact defaults."""
    text = """
app = FastAPI(strict_fast_path=True, title="t", docs_url=None, redoc_url=None, openapi_url=None, version="9",
    servers=[{"url": "/x"}], responses={404: {"description": "d"}})
router = APIRouter(prefix="/p", tags=["a"], responses={400: {"description": "b"}})
@router.get("/{a}/{b}", summary="s", description="d", operation_id="o", status_code=202)
async def r(a: int, b: str, background_tasks: BackgroundTasks): pass
app.include_router(router, prefix="/q")
"""
    result = start_here(tmp_path / "app", stub(PREAMBLE + text), monkeypatch)
    assert result.exit_code == 0, result.output


def run(serve: Serve, source: str, *options: str, **how: str) -> tuple[int, str]:
    """Status and stderr of a start that fails."""
    server = serve(source, *options, wait=False, **how)
    return server.wait(), server.stderr()


def test_a_refused_route_ends_the_real_command_with_status_2_and_leaves_no_row_file(serve: Serve):
    """The whole way once, with the process."""
    server = serve(stub(STRICT + '@app.get("/r/{x:path}")\ndef r(x: str): pass'), wait=False)
    assert server.wait() == 2
    assert "GET /r/{x:path} cannot be served straight: it has a path convertor" in server.stderr().replace("\n    ", " ")
    assert "Traceback" not in server.stderr()
    assert not server.rows_path.exists()


GOOD = stub('@app.get("/")\ndef root(background_tasks: BackgroundTasks):\n    background_tasks.add_task(int)\n    return {}\n')


def test_a_port_in_use_is_named(serve: Serve):
    """Status 1, the address and the reason; no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, said = run(serve, GOOD, "--port", str(port))
    assert status == 1
    assert f"127.0.0.1:{port}" in said
    assert "in use" in said
    assert "Traceback" not in said


def test_a_port_of_a_running_server_is_not_shared(serve: Serve):
    """A second server on the port fails, and the first one goes on."""
    first = serve(GOOD)
    status, said = run(serve, GOOD, "--port", str(first.port))
    assert (status, "in use" in said) == (1, True)
    assert first.ask("GET", "/").status == 200


def test_a_host_that_does_not_exist_is_named(serve: Serve):
    """Status 1 and the host."""
    status, said = run(serve, GOOD, "--host", "no-such-host.invalid")
    assert status == 1
    assert "no-such-host.invalid" in said
    assert "Traceback" not in said


def test_a_row_file_that_is_there_is_not_overwritten_and_is_named(serve: Serve, tmp_path: Path):
    """Status 1; the message is about the file, not about the port."""
    rows = tmp_path / "there.rows"
    rows.write_bytes(b"precious")
    status, said = run(serve, GOOD, "--rows", str(rows))
    assert status == 1
    assert rows.read_bytes() == b"precious"
    assert "there.rows" in said
    assert "Traceback" not in said
    assert "cannot serve on" not in said


def test_a_row_file_in_a_folder_that_is_not_there_is_named(serve: Serve, tmp_path: Path):
    """Status 1; the message is about the file, not about the port."""
    status, said = run(serve, GOOD, "--rows", str(tmp_path / "nowhere" / "t.rows"))
    assert status == 1
    assert "nowhere" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nomodule:app", "nomodule"),
        ("appmod:nothing", "appmod:nothing"),
        ("appmod:os", "appmod:os is module, not a FastrAPI or FastAPI app, nor another ASGI application"),
        ("appmod", "module:attribute"),
        (":app", "module:attribute"),
        ("appmod:", "module:attribute"),
    ],
)
def test_a_target_that_is_no_app_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, said: str):
    """Status 2 and what is missing."""
    (tmp_path / "appmod.py").write_text(GOOD, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "appmod", raising=False)
    monkeypatch.setattr("server.__main__.prepare", _compile_only)
    result = CliRunner().invoke(main, [target])
    monkeypatch.delitem(sys.modules, "appmod", raising=False)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("source", "last"),
    [
        ("raise RuntimeError('broken module')", "RuntimeError: broken module"),
        ("import no_such_thing_at_all", "No module named 'no_such_thing_at_all'"),
        ("this is no python", "SyntaxError"),
        ("import sys; sys.exit('gone')", "gone"),
    ],
)
def test_an_app_that_fails_at_import_shows_its_traceback(serve: Serve, source: str, last: str):
    """Not zero, and the line in the user's module."""
    status, said = run(serve, source)
    assert status not in (0, None)
    assert last in said
    assert "appmod.py" in said or "sys.exit" in source


@pytest.mark.parametrize(
    "options",
    [("--port", "70000"), ("--port", "-1"), ("--port", "x"), ("--pool", "0"), ("--pool", "-5"), ("--drain", "-1"),
    ("--order", "random"), ("--on-error", "ignore"),
     ("--queue-limit", "-1"), ("--no-such-option",), ("--endpoint-threads", "0"), ("--drain", "nan"), ("--boot", "-1")],
    ids=" ".join,
)  # fmt: skip
def test_a_bad_option_is_named_with_what_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]):
    """Status 2, the option and the value, no traceback."""
    result = start_here(tmp_path / "app", GOOD, monkeypatch, *options)
    assert result.exit_code == 2, result.output
    assert options[0].lstrip("-").replace("-", "_") in result.stderr.replace("-", "_")
    assert "Traceback" not in result.stderr


def test_the_app_that_a_function_makes_is_served(serve: Serve):
    """--factory."""
    server = serve(
        stub("def make():\n    @app.get('/')\n    def root(): return 'made'\n    return app\n"), "--factory", target="appmod:make"
    )
    assert server.ask("GET", "/").json() == "made"
    assert server.page.field(HeaderField.PID) == server.process.pid


# Lifespan.

LIFESPAN = """
from contextlib import asynccontextmanager
@asynccontextmanager
async def lifespan(app):
    {enter}
    {body}
    {leave}
app = FastAPI(lifespan=lifespan)
def work(): print("task", flush=True)
@app.get("/")
def root(background_tasks: BackgroundTasks):
    background_tasks.add_task(time.sleep, 0.1)
    background_tasks.add_task(work)
    return {{}}
"""


def lifespan(enter: str = "pass", body: str = "yield", leave: str = "pass") -> str:
    return stub(LIFESPAN.format(enter=enter, body=body, leave=leave))


def test_the_lifespan_encloses_every_request_and_every_task(serve: Serve):
    """Start-up before the port answers, shutdown after the last task; the loop is the one of the endpoints."""
    server = serve(
        lifespan(
            enter="print('up', threading.current_thread().name, flush=True)",
            leave="print('down', threading.current_thread().name, flush=True)",
        )
    )
    assert server.stdout().split() == ["up", "event-loop"]
    server.ask("GET", "/")
    assert server.stop() == 0
    assert server.stdout().split() == ["up", "event-loop", "task", "down", "event-loop"]


@pytest.mark.parametrize("error", ["RuntimeError", "ValueError", "OSError", "TypeError", "ConnectionRefusedError"])
def test_a_start_up_that_fails_ends_the_server_with_a_traceback(serve: Serve, error: str):
    """Whatever it raises: not status 0 or 2, the line of the user's code is shown, and no port was opened for anybody."""
    source = lifespan(enter=f"raise {error}('no database')  # the line that raised")
    status, said = run(serve, source)
    assert status not in (0, 2)
    assert "no database" in said
    assert "# the line that raised" in said
    assert "serving on" not in said


@pytest.mark.parametrize("error", ["SystemExit(9)", "KeyboardInterrupt"])
def test_a_start_up_that_wants_to_end_the_process_ends_it(serve: Serve, error: str):
    """No port, no status 0."""
    status, said = run(serve, lifespan(enter=f"raise {error}"))
    assert status not in (0, 2)
    assert "serving on" not in said


def test_a_shutdown_that_fails_is_not_silent_and_the_account_is_closed(serve: Serve):
    """Not zero, a traceback, and the row file closed in good order: the tasks had ended."""
    server = serve(lifespan(leave="raise ValueError('cannot stop')  # the line that raised"))
    server.ask("GET", "/")
    assert server.stop() not in (0, 2)
    assert "# the line that raised" in server.stderr()
    assert all(task.finished for task in server.tasks())
    assert server.file().closed_ns > 0


def test_a_lifespan_may_hold_a_task_group(serve: Serve):
    """Start-up and shutdown run in one asyncio task, as under uvicorn; anyio's task groups and cancel scopes insist on it."""
    server = serve(
        lifespan(
            enter="import anyio",
            body="async with anyio.create_task_group() as group:\n        group.start_soon(anyio.sleep, 0.01)\n        yield",
        )
    )
    server.ask("GET", "/")
    assert server.stop() == 0, server.stderr()
    assert "Traceback" not in server.stderr()


def test_a_shutdown_that_hangs_does_not_outlive_a_second_signal(serve: Serve):
    """A second signal stops at once, whatever the server waits for."""
    server = serve(lifespan(leave="print('leaving', flush=True); await asyncio.sleep(60)"))
    server.send(signal.SIGTERM)
    until(lambda: "leaving" in server.stdout(), "the shutdown has begun")
    server.send_again(signal.SIGTERM)
    assert server.wait(4) is not None


def test_a_start_up_that_hangs_can_be_stopped(serve: Serve):
    """SIGTERM ends a server that never gets ready."""
    server = serve(lifespan(enter="print('entering', flush=True); await asyncio.sleep(60)"), wait=False)
    until(lambda: "entering" in server.stdout(), "the start-up has begun")
    server.send(signal.SIGTERM)
    assert server.wait(4) is not None


def test_start_up_and_shutdown_events_run(serve: Serve):
    """The older way to say the same."""
    source = """
import warnings
warnings.simplefilter("ignore")
@app.on_event("startup")
async def up(): print("up", flush=True)
@app.on_event("shutdown")
def down(): print("down", flush=True)
"""
    server = serve(stub(source))
    assert server.stdout().split() == ["up"]
    assert server.stop() == 0
    assert server.stdout().split() == ["up", "down"]


def test_the_documentation_is_served(serve: Serve):
    """/docs, /redoc and /openapi.json, for GET and HEAD; not where the app turned them off."""
    server = serve(GOOD)
    for path, content_type, text in (
        ("/docs", "text/html", b"swagger"),
        ("/redoc", "text/html", b"redoc"),
        ("/openapi.json", "application/json", b'"/"'),
    ):
        answer = server.ask("GET", path)
        assert answer.status == 200
        assert (answer.header("content-type") or "").startswith(content_type)
        assert text in answer.body
        head = server.ask("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert head.header("content-length") == str(len(answer.body))
    quiet = serve(stub("app = FastAPI(openapi_url=None)\n"))
    assert [quiet.ask("GET", path).status for path in ("/docs", "/redoc", "/openapi.json")] == [404] * 3


def test_an_app_can_serve_itself(serve: Serve):
    """app.serve(...) as in the documentation; ready, stopped by a signal, status 0."""
    source = (
        GOOD
        + 'from pathlib import Path\napp.serve("127.0.0.1", 0, rows=Path(sys.argv[sys.argv.index("--rows") + 1]))\nsys.exit(7)\n'
    )
    server = serve(source)
    assert server.gauge(Gauge.READY)
    assert server.ask("GET", "/").status == 200
    assert server.stop() == 7


def test_one_line_at_start_says_which_way_the_routes_go(serve: Serve):
    """How many go straight, and for what reasons the others do not."""
    straight = serve(stub("@app.get('/')\ndef root(): return 1\n"))
    assert "server: all 5 routes go straight\n" in straight.stderr()
    mixed = serve(
        stub("@app.post('/up')\ndef up(f: UploadFile): return 1\n@app.websocket('/ws')\nasync def ws(s: WebSocket): ...\n")
    )
    expected = "4 routes go straight, 2 the general way: POST /up takes a form or files; /ws is a web socket\n"
    assert expected in mixed.stderr()
