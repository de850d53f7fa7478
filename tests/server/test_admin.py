"""The admin port: what it says agrees with the row file, and it says it while Python is stuck."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.rows import DropReason, Gauge
from server import ServerConfig

from .conftest import Serve
from .helpers import PATIENCE_S, Answer, AppServer, ask, read_answer, stays, stub, until

APP = stub("""
import contextlib, ctypes
from pathlib import Path

def gone(name): return not Path(name).exists()
def wait_for(name):
    while gone(name): time.sleep(0.005)
async def await_for(name):
    while gone(name): await asyncio.sleep(0.005)
def quick(): pass
async def aquick(): pass
def broken(): raise ValueError("on purpose")

def hold_here():
    # A C function called through PyDLL keeps the GIL; this one returns when the test writes into the pipe.
    pipe = os.open("pipe", os.O_RDONLY)
    ctypes.PyDLL(None).read(pipe, ctypes.create_string_buffer(1), 1)
    os.close(pipe)
def hold(): hold_here()
async def ahold(): hold_here()

@app.get("/add/{name}")
def add(name: str, background_tasks: BackgroundTasks, count: int = 1, argument: str | None = None):
    for _ in range(count):
        background_tasks.add_task(globals()[name], *([] if argument is None else [argument]))
    return {}
@app.get("/script")
def script(background_tasks: BackgroundTasks):
    for task in (quick, aquick, broken, quick, aquick):
        background_tasks.add_task(task)
    return {}
@app.get("/raises")
def raises(background_tasks: BackgroundTasks):
    background_tasks.add_task(quick)
    raise HTTPException(400)
@app.post("/held")
async def aheld():
    hold_here()
@app.get("/held")
def held():
    hold_here()
""")

SLOW_LIFE = APP.replace(
    "app = FastAPI()",
    """
from contextlib import asynccontextmanager
@asynccontextmanager
async def life(app):
    await await_for("started")
    yield
    await await_for("ended")
app = FastAPI(lifespan=life)
""",
)

_ADMIN = re.compile(r"server: admin on http://127\.0\.0\.1:(\d+)\n")


def admin_port(server: AppServer) -> int:
    """The admin port, once the server has named it."""
    found = until(lambda: _ADMIN.search(server.stderr()), "the admin port is named")
    return int(found[1])


def see(server: AppServer, path: str) -> Answer:
    return ask(admin_port(server), "GET", path)


def health(server: AppServer) -> tuple[int, str]:
    answer = see(server, "/healthz")
    return answer.status, answer.json()["status"]


def samples(server: AppServer) -> dict[tuple[str, ...], float]:
    """Every sample of /metrics by name and label values."""
    text = see(server, "/metrics").body.decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_state_is_named_from_start_up_to_shutdown(serve: Serve):
    """503 while the app starts, drains and shuts down; 200 between. Then the port is closed."""
    server = serve(SLOW_LIFE, "--admin-port", "0", wait=False)

    assert health(server) == (503, "starting")
    (server.folder / "started").touch()
    until(lambda: health(server) == (200, "serving"), "it serves")
    assert see(server, "/healthz").body == b'{"status":"serving"}\n'
    until(lambda: "serving on" in server.stderr(), "it says where")  # Shortly after it serves.
    server.ask("GET", "/add/wait_for?argument=done")
    server.process.terminate()
    until(lambda: health(server) == (503, "draining"), "it drains")
    (server.folder / "done").touch()
    until(lambda: health(server) == (503, "stopped"), "the account is closed")
    port = admin_port(server)
    (server.folder / "ended").touch()
    assert server.wait() == 0
    with pytest.raises(ConnectionRefusedError):
        ask(port, "GET", "/healthz")


def test_an_app_that_cannot_start_ends_the_admin_port_with_it(serve: Serve):
    """The probe thread uses the interpreter, so that it must have ended before the interpreter does."""
    server = serve(SLOW_LIFE.replace('await await_for("started")', 'raise OSError("no start")'), "--admin-port", "0", wait=False)

    assert server.wait() == 1
    assert "OSError: no start" in server.stderr()


def test_there_is_no_admin_port_unless_one_is_asked_for(serve: Serve):
    assert "admin" not in serve(APP).stderr()


def test_an_admin_port_that_is_taken_is_named(serve: Serve):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = serve(APP, "--admin-port", str(port), wait=False)

        assert server.wait() == 1
        assert f"cannot serve: the admin port 127.0.0.1:{port}: Address already in use" in server.stderr()
        assert not server.rows_path.exists()


@pytest.mark.parametrize("port", [-1, 65_536])
def test_an_admin_port_out_of_range_is_refused(port: int):
    with pytest.raises(ValueError, match="admin_port is"):
        ServerConfig(admin_port=port)


def test_metrics_agree_with_the_row_file(serve: Serve):
    """Once everything has ended, each counter is the number of rows that say so, and each histogram holds one value a row."""
    server = serve(APP, "--admin-port", "0", "--on-error", "stop", "--pool", "3")
    for _ in range(20):
        server.ask("GET", "/script")
    for _ in range(7):
        server.ask("GET", "/raises")
    server.ask("GET", "/add/quick?count=50")
    rows = server.wait_ended(20 * 5 + 7 + 50)
    until(lambda: samples(server)[("afterload_requests_in_flight",)] == 0, "no request is in flight")
    seen = samples(server)

    reasons = Counter(row.reason for row in rows if row.dropped)
    assert reasons == {DropReason.SKIPPED: 40, DropReason.DISCARDED: 7}
    for reason in DropReason:
        if reason not in {DropReason.NONE, DropReason.CANCELLED}:  # that is what the probe says; here a cancelled task has failed
            assert seen["afterload_tasks_dropped_total", reason.name.lower()] == reasons[reason]
    assert seen["afterload_tasks_accepted_total",] == len(rows)
    for what in ("started", "finished", "failed"):
        assert seen[f"afterload_tasks_{what}_total",] == sum(getattr(row, what) > 0 for row in rows)
    for kind, name in ((1, "def"), (2, "async")):
        started = [row for row in rows if row.kind == kind and row.started]
        assert seen["afterload_task_wait_seconds_count", name] == len(started)
        assert seen["afterload_task_run_seconds_count", name] == sum(not row.dropped for row in started)
        waited_s = sum(row.started - row.flushed for row in started) / 1e9
        assert seen["afterload_task_wait_seconds_sum", name] == pytest.approx(waited_s, rel=0.5, abs=0.5)
    assert seen["afterload_requests_total",] == 28
    assert (seen["afterload_tasks_pending",], seen["afterload_pool_threads",]) == (0, 3)


def test_refused_requests_are_counted(serve: Serve):
    server = serve(APP, "--admin-port", "0", "--queue-limit", "0")
    assert server.ask("GET", "/script").status == 503
    seen = samples(server)

    assert seen["afterload_requests_refused_total",] == 1
    assert seen["afterload_tasks_dropped_total", "rejected"] == seen["afterload_tasks_accepted_total",] == 1


def test_metrics_are_what_prometheus_reads(serve: Serve):
    """Each family has a type and a text, counters end in _total, histograms grow up to their count."""
    server = serve(APP, "--admin-port", "0")
    answer = see(server, "/metrics")
    assert answer.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    text = answer.body.decode()
    families = list(text_string_to_metric_families(text))

    assert len({family.name for family in families}) == len(families) > 25
    for family in families:
        assert family.documentation
        assert family.type in ("counter", "gauge", "histogram")
        assert f"# HELP {family.name}" in text
        if family.type == "counter":
            assert {sample.name for sample in family.samples} == {f"{family.name}_total"}
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
            buckets: dict[tuple[str, ...], list[tuple[float, float]]] = {}
            for sample in family.samples:
                if sample.name.endswith("_bucket"):
                    others = tuple(value for label, value in sample.labels.items() if label != "le")
                    buckets.setdefault(others, []).append((float(sample.labels["le"]), sample.value))
            assert all(sorted(pairs) == pairs and pairs[-1][0] == float("inf") for pairs in buckets.values())
            assert all(counts == sorted(counts) for counts in ([count for _, count in pairs] for pairs in buckets.values()))
    seen = samples(server)
    # The connection that asks is one itself, and the one before may still be being closed.
    assert seen["process_open_fds",] == pytest.approx(len(os.listdir(f"/proc/{server.process.pid}/fd")), abs=2)
    assert seen["process_threads",] == len(os.listdir(f"/proc/{server.process.pid}/task"))
    assert seen["process_resident_memory_bytes",] > 10e6
    assert seen["process_cpu_seconds_total",] > 0


def test_tasks_are_counted_by_function_and_the_longest_running_are_listed(serve: Serve):
    """One runs on the only thread and two wait for it; of the 150 on the loop, the oldest make the list full."""
    server = serve(APP, "--admin-port", "0", "--pool", "1")
    assert see(server, "/tasks").json() == {
        "queued": 0, "running": 0, "oldest_queued_ms": None, "functions": [], "longest_running": [], "gil_held_by": None,
    }  # fmt: skip
    begun = time.monotonic()
    server.ask("GET", "/add/wait_for?argument=done&count=3", x_op_id="2a")
    until(lambda: server.gauge(Gauge.STARTED) == 1, "the first one runs")
    for _ in range(150):
        server.ask("GET", "/add/await_for?argument=done", x_op_id="2b")
    until(lambda: server.gauge(Gauge.STARTED) == 151, "those on the loop run")
    server.ask("GET", "/add/quick?count=2")
    seen = see(server, "/tasks").json()

    assert (seen["queued"], seen["running"]) == (4, 151)
    assert {row["name"]: (row["queued"], row["running"]) for row in seen["functions"]} == {
        "wait_for": (2, 1), "await_for": (0, 150), "quick": (2, 0),
    }  # fmt: skip
    assert 0 < seen["oldest_queued_ms"] <= 1000 * (time.monotonic() - begun)
    assert seen["oldest_queued_ms"] > seen["longest_running"][1]["running_ms"], (
        "the oldest queued one came with the first request"
    )
    listed = seen["longest_running"]
    assert len(listed) == 100
    assert listed[0] == {
        "kind": "task", "name": "wait_for", "op": "000000000000002a", "running_ms": listed[0]["running_ms"], "thread": "task-0",
    }  # fmt: skip
    assert {(task["name"], task["op"], task["thread"]) for task in listed[1:]} == {
        ("await_for", "000000000000002b", "event-loop")
    }
    ages = [task["running_ms"] for task in listed]
    assert ages == sorted(ages, reverse=True)
    (server.folder / "done").touch()
    until(lambda: see(server, "/tasks").json()["functions"] == [], "all have ended")


def test_names_are_known_without_a_row_file(tmp_path: Path):
    """And odd ones are written as JSON wants them."""
    (tmp_path / "appmod.py").write_text(APP + "\nwait_for.__qualname__ = 'wait \"for\" \\\\ it\\n'", encoding="utf-8")
    launcher = [sys.executable, "-c", "import appmod; appmod.app.serve(port=0, admin_port=0)"]
    with subprocess.Popen(launcher, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = (re.search(r"^server: (admin|serving) on http://[^ /]+:(\d+)\b", line) for line in process.stderr)
            ports = dict(itertools.islice((found.groups() for found in said if found), 2))
            assert ask(int(ports["serving"]), "GET", "/add/wait_for?argument=done").status == 200
            functions = until(lambda: ask(int(ports["admin"]), "GET", "/tasks").json()["functions"], "it is known")
            assert [function["name"] for function in functions] == ['wait "for" \\ it\n']
            (tmp_path / "done").touch()
            process.terminate()
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()


def test_routes_say_which_way_they_go(serve: Serve):
    routes = see(serve(APP, "--admin-port", "0"), "/routes").json()

    assert {"method": "GET", "path": "/add/{name}", "way": "fast", "reason": None, "tasks": True} in routes
    assert {"method": "POST", "path": "/held", "way": "fast", "reason": None, "tasks": False} in routes
    assert {"method": "GET", "path": "/docs", "way": "constant", "reason": None, "tasks": False} in routes


HOLDERS = [
    ("GET", "/add/hold", {"kind": "task", "name": "hold", "thread": "task-"}),
    ("GET", "/add/ahold", {"kind": "task", "name": "ahold", "thread": "event-loop"}),
    ("GET", "/held", {"kind": "endpoint", "name": "GET /held", "thread": "endpoint-"}),
    ("POST", "/held", {"kind": "endpoint", "name": "POST /held", "thread": "event-loop"}),
]


@contextlib.contextmanager
def holding(server: AppServer, method: str, path: str) -> Iterator[None]:
    """Python is stuck in C code, with the GIL, from a moment before the block to its end."""
    pipe = server.folder / "pipe"
    os.mkfifo(pipe)
    client = threading.Thread(target=server.ask, args=(method, path), kwargs={"x_op_id": "2a"}, daemon=True)
    client.start()
    # Opens when the other side has opened it too; its read comes right after that.
    with pipe.open("wb", buffering=0) as writer:
        try:
            yield
        finally:
            writer.write(b"x")
    client.join(PATIENCE_S)


@pytest.mark.parametrize(("method", "path", "expected"), HOLDERS, ids=lambda value: value if isinstance(value, str) else "")
def test_whoever_holds_the_gil_is_named_while_it_does(serve: Serve, method: str, path: str, expected: dict[str, str]):
    """On all three pages, with the operation and for how long; all pages answer meanwhile, quickly."""
    server = serve(APP, "--admin-port", "0")
    with holding(server, method, path):
        held: dict[str, Any] = until(lambda: see(server, "/healthz").json().get("gil_held_by"), "the holder is named")

        assert (held["kind"], held["name"], held["op"]) == (expected["kind"], expected["name"], "000000000000002a")
        assert held["thread"].startswith(expected["thread"])
        assert held["for_ms"] > 100
        assert see(server, "/tasks").json()["gil_held_by"]["name"] == expected["name"]
        seen = samples(server)
        assert seen["afterload_gil_held_seconds", expected["kind"], expected["name"]] > 0.1
        assert seen["afterload_gil_unavailable_seconds",] > 0.1
        took_s = []
        for _ in range(200):
            begun = time.perf_counter()
            assert see(server, "/metrics").status == 200
            took_s.append(time.perf_counter() - begun)
        assert statistics.median(took_s) < 0.05
        assert health(server) == (200, "serving")
        later = see(server, "/healthz").json()["gil_held_by"]
        assert later["for_ms"] > held["for_ms"]
    until(lambda: "gil_held_by" not in see(server, "/healthz").json(), "the GIL is free again")
    assert server.stop() == 0


def test_of_several_on_the_event_loop_the_holder_is_one_of_them(serve: Serve):
    """The thread is known, and which of its coroutines has not come back is not."""
    server = serve(APP, "--admin-port", "0")
    server.ask("GET", "/add/await_for?argument=done")
    until(lambda: server.gauge(Gauge.STARTED) == 1, "one runs")
    with holding(server, "GET", "/add/ahold"):
        held = until(lambda: see(server, "/healthz").json().get("gil_held_by"), "the holder is named")

        assert (held["kind"], held["name"]) == ("one of", "event-loop")
        assert [suspect["name"] for suspect in held["one_of"]] == ["await_for", "ahold"]
    (server.folder / "done").touch()


def test_the_loop_lags_while_the_gil_is_held(serve: Serve):
    server = serve(APP, "--admin-port", "0")
    with holding(server, "GET", "/add/hold"):
        until(lambda: samples(server)["afterload_loop_lag_seconds",] > 0.3, "the loop is overdue")
    until(lambda: samples(server)["afterload_loop_lag_seconds",] < 0.1, "the loop has come round again")


def test_a_sleeper_is_not_accused(serve: Serve):
    """Tasks that run for long without the GIL hold up nobody."""
    server = serve(APP, "--admin-port", "0")
    server.ask("GET", "/add/wait_for?argument=done")
    server.ask("GET", "/add/await_for?argument=done")
    until(lambda: see(server, "/tasks").json()["running"] == 2, "both run")

    assert stays(lambda: "gil_held_by" not in see(server, "/healthz").json(), 0.6)
    (server.folder / "done").touch()


def test_unknown_paths_and_methods_are_refused_and_bodies_ignored(serve: Serve):
    port = admin_port(serve(APP, "--admin-port", "0"))

    unknown = ask(port, "GET", "/nothing")
    assert (unknown.status, unknown.json()["paths"]) == (404, ["/healthz", "/metrics", "/routes", "/tasks"])
    refused = ask(port, "POST", "/healthz", b"x" * 100_000)
    assert (refused.status, refused.header("allow")) == (405, "GET, HEAD")
    assert ask(port, "GET", "/healthz?verbose=1", b"ignored").status == 200
    head = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    head.request("HEAD", "/metrics")
    with contextlib.closing(head), head.getresponse() as response:
        assert (response.status, response.read()) == (200, b"")


def test_silent_clients_take_64_places_and_lose_them_after_ten_seconds(serve: Serve):
    """One more is refused at once; when the silent ones have been given up, others are answered again."""
    port = admin_port(serve(APP, "--admin-port", "0"))
    with contextlib.ExitStack() as stack:
        connect = lambda: stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE_S))  # noqa: E731
        silent = [connect() for _ in range(64)]
        assert read_answer(connect()).status == 503
        silent.pop().close()

        def answered() -> bool:
            connection = connect()
            with contextlib.suppress(OSError):
                connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            with contextlib.closing(connection), contextlib.suppress(OSError):
                return connection.recv(12) == b"HTTP/1.1 200"
            return False

        until(answered, "a place is free again")
        silent[0].settimeout(20)
        assert silent[0].recv(1000) == b"", "closed without an answer, since nothing was asked"


def test_a_route_that_goes_the_general_way_is_named_with_its_reason(serve: Serve):
    """Its endpoint too, while it keeps the GIL; an `async def` one runs on the event loop, where it is the only piece."""
    source = APP.replace("async def aheld():", "async def aheld(given: int = Depends(give)):").replace(
        '@app.post("/held")', 'async def give():\n    yield 1\n@app.post("/held")'
    )
    server = serve(source, "--admin-port", "0")
    (line,) = (line for line in see(server, "/routes").json() if line["method"] == "POST")
    assert (line["path"], line["way"], line["tasks"]) == ("/held", "general", None)
    assert line["reason"]
    with holding(server, "POST", "/held"):
        held = until(lambda: see(server, "/healthz").json().get("gil_held_by"), "the holder is named")

        assert (held["kind"], held["thread"], held["op"]) == ("endpoint", "event-loop", "000000000000002a")
        assert held["name"] == "POST /held"
