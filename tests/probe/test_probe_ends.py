"""What the rows say when a server ends, in whatever way, or cannot write."""

from __future__ import annotations

import resource
import signal
import sys
import threading
import time

import psutil

from harness.grouping import TaskState, states
from harness.rows import DropReason, Gauge, LivePage
from tests.server.helpers import until

from .conftest import Start
from .probed import DEF, Probed, uvicorn


def ask_in_threads(server: Probed, path: str, ops: range) -> None:
    threads = [threading.Thread(target=server.ask, args=(path, op)) for op in ops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_sigkill_leaves_true_rows(start: Start):
    """Four tokens, seven requests of one `def` task: frozen, 4 run and 3 wait; killed, 4 are interrupted and 3 never started."""
    server = start(env={"AFTERLOAD_PROBE_POOL": "4"}).wait_ready()
    ask_in_threads(server, "/hold-from-loop", range(1, 8))  # a `def` endpoint would wait for the tokens that the tasks hold
    until(lambda: sum(bool(task.started) for task in server.tasks()) == 4, "four run")
    until(lambda: sum(bool(task.flushed) for task in server.tasks()) == 7, "seven are answered")
    until(lambda: server.gauge(Gauge.REQUESTS) == 7, "the gauge says so")
    server.signal(signal.SIGSTOP)
    (frozen,) = server.files()
    found = list(states(frozen.rows, reaped=True))
    assert (found.count(TaskState.INTERRUPTED), found.count(TaskState.NEVER_STARTED)) == (4, 3)
    assert server.gauge(Gauge.POOL_SIZE) == 4
    server.signal(signal.SIGKILL)
    server.wait_end()
    (file,) = server.files()
    assert list(states(file.rows, reaped=True)) == found
    assert (file.boot, file.closed_ns, file.holes, file.unwritten, file.pid) == (3, 0, 0, 0, server.process.pid)
    assert all(task.accepted <= task.flushed for task in server.tasks())


def test_a_shutdown_time_out_abandons_what_it_cancels(start: Start):
    """uvicorn cancels: the `async` one was begun, the one after it in its request never; a `def` one in its thread goes on."""
    server = start(uvicorn("--timeout-graceful-shutdown", "1")).wait_ready()
    server.ask("/nap", 1)
    server.ask("/hold?seconds=1.5", 2)
    until(lambda: sum(bool(task.started) for task in server.tasks()) == 2, "both run")
    server.signal(signal.SIGINT)
    server.wait_end()
    nap, plain = server.tasks(1)
    assert nap.started
    assert [(task.reason, bool(task.dropped), task.finished, task.failed) for task in (nap, plain)] == [
        (DropReason.ABANDONED, True, 0, 0)
    ] * 2
    assert not plain.started
    (hold,) = server.tasks(2)
    assert hold.kind == DEF
    assert not hold.dropped


def test_the_pool_is_changed_while_it_runs(start: Start):
    """One token, three tasks of a second: asked for three, two more start at once."""
    server = start(env={"AFTERLOAD_PROBE_POOL": "1"}).wait_ready()
    server.ask("/hold?seconds=20", 1)
    waiting = [threading.Thread(target=server.ask, args=("/none",)) for _ in range(2)]
    for thread in waiting:
        thread.start()
    until(lambda: server.gauge(Gauge.POOL_WAITING) == 2, "two endpoints wait for the task's token")
    assert (server.gauge(Gauge.POOL_SIZE), server.gauge(Gauge.POOL_BUSY), server.gauge(Gauge.SHARED_POOL)) == (1, 1, 1)
    page = LivePage(server.paths()[0])
    page.set(0, 3)
    page.close()
    until(lambda: not any(thread.is_alive() for thread in waiting), "they are answered")
    until(lambda: server.gauge(Gauge.POOL_SIZE) == 3, "the gauge says so")


def test_a_full_disk_and_a_full_table_of_names_are_said_and_the_app_goes_on(start: Start):
    """A limit on the size of files stands for the disk: one segment fits, a second does not. 191 names fit, and the empty one."""
    limit = 16_384 + 16_384 * 64 + 4096
    server = start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))).wait_ready()
    server.ask("/names", 1)
    tasks = server.wait_tasks(1, 200)
    assert [task.name for task in tasks] == [f"made-{number}" if number < 191 else "" for number in range(200)]
    until(lambda: [note for note in server.notes("note") if "names" in str(note["text"])], "it says so")
    for _ in range(17):
        assert server.ask("/many?number=1000") == 200
    until(lambda: server.files()[0].unwritten == 17_200 - 16_384, "what could not be written is counted")
    (file,) = server.files()
    assert (len(file.rows), file.claimed, file.holes) == (16_384, 16_384, 0)
    assert server.ask("/none") == 200
    until(lambda: [note for note in server.notes("note") if "could not be written" in str(note["text"])], "it says so")


def test_a_file_that_cannot_be_made_is_said_and_the_app_serves(start: Start, tmp_path):
    """The folder is not there."""
    server = start(env={"AFTERLOAD_PROBE_ROWS": str(tmp_path / "nowhere" / "tasks-3.rows")}).wait_ready()
    assert server.ask("/two", 1) == 200
    assert "afterload: the probe cannot write" in server.log.read_text()


def test_children_that_the_app_forks_write_nothing_and_a_good_end_closes_the_file(start: Start):
    """They run a task of Starlette's by hand. A server that returns has closed its file; one that ends by its signal has not."""
    server = start().wait_ready()
    server.ask("/forks", 1)
    (task,) = server.wait_tasks(1, 1)
    assert task.finished
    server.signal(signal.SIGINT)
    server.wait_end()
    (file,) = server.files()
    assert (file.pid, len(file.rows), file.gauges[Gauge.FINISHED]) == (server.process.pid, 1, 1)
    assert file.closed_ns


def test_what_blocks_the_loop_is_named_and_idling_is_cheap(start: Start):
    """The function of the app, not the call inside it; and neither a stopped process nor an idle one is blamed on anybody."""
    server = start().wait_ready()
    server.ask("/none")
    used = psutil.Process(server.process.pid).cpu_times()
    begun = time.monotonic()
    time.sleep(0.3)
    server.signal(signal.SIGSTOP)
    time.sleep(0.4)
    server.signal(signal.SIGCONT)
    time.sleep(0.5)
    after = psutil.Process(server.process.pid).cpu_times()
    share = (after.user + after.system - used.user - used.system) / (time.monotonic() - begun)
    assert share < 0.05  # a smoke test; docs/probe.md has what it is
    assert server.notes("blocked") == []
    beat = server.gauge(Gauge.LOOP_BEAT)
    asking = threading.Thread(target=server.ask, args=("/blocks?seconds=0.5",))
    asking.start()
    until(lambda: time.monotonic_ns() - server.gauge(Gauge.LOOP_BEAT) > 250_000_000, "the beat stops")
    asking.join()
    until(lambda: server.gauge(Gauge.LOOP_BEAT) > beat and server.notes("blocked"), "it is named")
    (note,) = server.notes("blocked")
    assert note["function"] == "culprit"
    assert str(note["file"]).endswith("app.py")
    assert 300 < note["ms"] < 5000  # type: ignore[operator]
    assert "culprit" in str(note["text"])


THREADS = """
import asyncio, threading
from starlette.background import BackgroundTask
async def coro(): pass
async def many():
    for _ in range(1500): await BackgroundTask(coro)()
threads = [threading.Thread(target=asyncio.run, args=(many(),)) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_rows_are_claimed_by_several_threads_and_loops_at_once(start: Start):
    """Eight loops, 1,500 tasks each, called by hand outside of any request: each has a row and an operation of its own."""
    program = start([sys.executable, "-c", f"import sys; sys.setswitchinterval(1e-5)\n{THREADS}"])
    assert program.wait_end() == 0, program.log.read_text()
    (file,) = program.files()
    assert (len(file.rows), file.claimed, file.holes, file.unwritten) == (12_000, 12_000, 0, 0)
    assert len(set(file.rows["op"].tolist())) == 12_000
    assert (file.rows["finished_ns"] >= file.rows["started_ns"]).all()
    assert file.gauges[Gauge.ACCEPTED] == file.gauges[Gauge.STARTED] == file.gauges[Gauge.FINISHED] == 12_000
    assert file.closed_ns
