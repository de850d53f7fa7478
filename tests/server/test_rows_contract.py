"""Two writers, one format: what the Rust writer and the Python one store is read back alike (docs/rows.md)."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from harness.rows import UNTAGGED, Gauge, HeaderField, Kind, RowWriter, read_rows

from .conftest import Serve
from .helpers import stub, until

APP = stub("""
def first(): pass
async def second(): pass
def third(): raise ValueError("on purpose")
def ünnamed_but_long_enough_to_be_cut_somewhere_in_the_middle_of_an_umlaut_äöü(): pass

@app.get("/script")
def script(background_tasks: BackgroundTasks):
    background_tasks.add_task(first)
    background_tasks.add_task(second)
    background_tasks.add_task(third)
    background_tasks.add_task(first)
    return {}
@app.get("/raises")
def raises(background_tasks: BackgroundTasks):
    background_tasks.add_task(second)
    raise HTTPException(400)
@app.get("/named")
def named(background_tasks: BackgroundTasks):
    background_tasks.add_task(ünnamed_but_long_enough_to_be_cut_somewhere_in_the_middle_of_an_umlaut_äöü)
    return {}
@app.get("/names")
def names(background_tasks: BackgroundTasks):
    for n in range(300):
        def made(): pass
        made.__qualname__ = f"made-{n}"
        made.__code__ = made.__code__.replace(co_name=f"made{n}")
        background_tasks.add_task(made)
    return {}
""")


def test_the_rust_writer_and_the_python_writer_are_read_back_alike(serve: Serve, tmp_path: Path):
    """The same script through a real server and through RowWriter: equal words, names and header, but for times and pid."""
    begun, begun_unix = time.monotonic_ns(), time.time_ns()
    server = serve(APP, "--boot", "7", "--label", "läbel")
    server.ask("GET", "/script", x_op_id="000000000000002a")
    server.wait_ended(4)
    server.ask("GET", "/raises", x_op_id="000000000000002b")
    server.wait_ended(5)
    server.ask("GET", "/script")
    server.wait_ended(9)
    assert server.stop() == 0
    rust = server.file()

    path = tmp_path / "python.rows"
    with RowWriter(path, Kind.TASKS, boot=7, label="läbel") as writer:
        names = {name: writer.name(name) for name in ("first", "second", "third")}
        scripts = [
            (0x2A, ["first", "second", "third", "first"]),
            (0x2B, ["second"]),
            (UNTAGGED | 1, ["first", "second", "third", "first"]),
        ]
        for op, functions in scripts:
            for index, name in enumerate(functions):
                discarded = op == 0x2B
                words = index | names[name] << 16 | (2 if name == "second" else 1) << 32 | 1 << 40 | (3 if discarded else 0) << 48
                row = writer.append((op, words, time.monotonic_ns()))
                for word in (7,) if discarded else (3, 4, 6 if name == "third" else 5):
                    writer.store(row, word, time.monotonic_ns())
    python = read_rows(path)

    assert (rust.kind, rust.boot, rust.names, rust.claimed, rust.missing, rust.holes, rust.unwritten) == (
        python.kind, python.boot, python.names, python.claimed, python.missing, python.holes, python.unwritten,
    )  # fmt: skip
    assert rust.names == ("", "first", "second", "third")
    assert rust.pid == server.process.pid
    assert begun <= rust.created_ns <= rust.closed_ns <= time.monotonic_ns()
    assert server.page.label() == "läbel"
    assert begun_unix <= server.page.field(HeaderField.CREATED_UNIX) <= time.time_ns()
    for field in ("op", "index", "func", "kind", "attempt", "reason", "flags"):
        np.testing.assert_array_equal(rust.rows[field], python.rows[field], err_msg=field)
    for instant in ("accepted_ns", "flushed_ns", "started_ns", "finished_ns", "failed_ns", "dropped_ns"):
        np.testing.assert_array_equal(rust.rows[instant] > 0, python.rows[instant] > 0, err_msg=instant)
    header = server.rows_path.read_bytes()[:24]
    assert header == path.read_bytes()[:24]


def test_the_table_of_names_may_be_full_and_a_name_may_be_long(serve: Serve):
    """192 names; the later ones are the empty name 0, and their tasks are accounted for all the same."""
    server = serve(APP)
    server.ask("GET", "/named")
    server.wait_ended(1)
    (long,) = server.tasks()
    assert long.name.startswith("ünnamed_but_long_enough_to_be_cut")
    assert len(long.name.encode()) <= 64 + 2
    server.ask("GET", "/names")
    tasks = server.wait_ended(301)
    assert len(server.file().names) == 192
    assert [task.name for task in tasks[1:]] == [f"made-{n}" if n < 190 else "" for n in range(300)]
    assert all(task.finished for task in tasks)


def test_a_file_grows_beyond_its_first_segment(serve: Serve):
    """Seventy thousand rows are more than one segment holds: every one is there."""
    server = serve(
        stub("""
@app.get("/")
def root(background_tasks: BackgroundTasks):
    for _ in range(1000):
        background_tasks.add_task(int)
    return {}
""")
    )
    for _ in range(70):
        server.ask("GET", "/")
    until(lambda: server.gauge(Gauge.FINISHED) == 70_000, "all have ended")
    file = server.file()
    assert (len(file.rows), file.claimed, file.holes, file.missing, file.unwritten) == (70_000, 70_000, 0, 0, 0)
    assert (file.rows["accepted_ns"] <= file.rows["flushed_ns"]).all()
    assert (file.rows["flushed_ns"] <= file.rows["started_ns"]).all()
    assert (file.rows["started_ns"] <= file.rows["finished_ns"]).all()


def test_a_server_without_a_row_file_serves_all_the_same(serve: Serve):
    """The account is optional; tasks run and the drain waits for them."""
    source = stub("""
def work(): print("worked", flush=True)
@app.get("/")
def root(background_tasks: BackgroundTasks):
    background_tasks.add_task(time.sleep, 0.2)
    background_tasks.add_task(work)
    return {}
if __name__ == "__main__":
    print("plain", flush=True)
def make():
    app.serve("127.0.0.1", 0)
    sys.exit(0)
""")
    server = serve(source, "--factory", target="appmod:make", wait=False)
    until(lambda: "serving on" in server.stderr(), "it is ready")
    server.ask("GET", "/")
    assert server.stop() == 0
    assert server.stdout() == "worked\n"
    assert not server.rows_path.exists()
