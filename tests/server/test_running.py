"""Serving beside other code in one interpreter: starts and stops like a good guest, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import threading
import time
import weakref
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from starlette.responses import StreamingResponse

from harness.rows import read_rows
from server import BackgroundTasks, CannotServe, FastAPI, Request, Response, TasksAbandoned, running
from server._native import Server

from .helpers import PATIENCE_S, ask, until


@pytest.fixture(scope="module")
def warm() -> None:
    """libuv opens a pipe at the first loop of a process and keeps it. What earlier tests of this process have left to the
    collector is no affair of these: it would go in the middle of one of them.
    """
    collect()
    n_threads = threads()
    with running(FastAPI()):
        pass
    collect()
    until(lambda: threads() <= n_threads, f"there are {n_threads} threads again")


@pytest.fixture(autouse=True)
def nothing_left(warm: None) -> Iterator[None]:
    """Threads and descriptors after each test are those of before."""
    before = held()
    yield
    collect()
    end = time.monotonic() + PATIENCE_S
    while (now := (threads(), descriptors())) != before:
        assert time.monotonic() < end, f"{now} threads and descriptors; there were {before}:\n{what_is_held()}"
        time.sleep(0.004)


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def held() -> tuple[int, int]:
    """Both, once they stand still: the kernel's part of a thread ends a moment after Python's."""
    seen = None
    while seen != (seen := (threads(), descriptors())):
        time.sleep(0.05)
    return seen


def what_is_held() -> str:
    """Every thread and descriptor, in words."""
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    ends = []
    for descriptor in Path("/proc/self/fd").iterdir():
        # That of the listing itself has gone.
        with contextlib.suppress(FileNotFoundError):
            ends.append(str(descriptor.readlink()))
    return f"{sorted(names)} {sorted(ends)}"


def collect() -> None:
    """Twice: what a request's reference cycles hold of a compiled server, and then the app that the server held."""
    gc.collect()
    gc.collect()


def resident() -> int:
    """Bytes of memory in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class App:
    """An app, and what it did."""

    def __init__(self, *, with_lifespan: bool = False) -> None:
        done: list[str] = []
        release = threading.Event()

        @contextlib.asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            await asyncio.to_thread(done.append, "up")
            ticking = asyncio.create_task(asyncio.sleep(60))
            yield
            ticking.cancel()
            done.append("down")

        self.app = app = FastAPI(lifespan=lifespan if with_lifespan else None)
        self.done, self.release = done, release

        def work(what: str) -> None:
            done.append(what)

        async def async_work(what: str) -> None:
            await asyncio.sleep(0)
            done.append(what)

        async def endless(tasks: BackgroundTasks) -> None:
            await asyncio.sleep(60)

        def stuck(tasks: BackgroundTasks) -> None:
            release.wait(60)

        @app.get("/work")
        def ask_for_work(tasks: BackgroundTasks) -> dict[str, int]:
            tasks.add_task(work, "def")
            tasks.add_task(async_work, "async")
            return {}

        @app.get("/async")
        async def ask_on_loop(tasks: BackgroundTasks) -> dict[str, int]:
            tasks.add_task(async_work, "async")
            tasks.add_task(work, "def")
            return {}

        @app.get("/general/{what:path}")
        def ask_for_anything(what: str, request: Request, tasks: BackgroundTasks) -> Response:
            tasks.add_task(work, what)
            return StreamingResponse(iter([str(request.url)]))

        @app.get("/stuck")
        def ask_for_stuck(tasks: BackgroundTasks) -> dict[str, int]:
            # Tasks whose arguments hold the list that holds the tasks.
            tasks.add_task(stuck, tasks)
            tasks.add_task(work, "never")
            return {}

        @app.get("/endless")
        def ask_for_endless(tasks: BackgroundTasks) -> dict[str, int]:
            tasks.add_task(endless, tasks)
            tasks.add_task(work, "never")
            return {}


def test_an_app_is_served_while_the_block_runs():
    """Requests are answered, their tasks have run when the block has ended, and then nobody answers any more."""
    app = App(with_lifespan=True)
    with running(app.app) as server:
        assert app.done == ["up"]
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert ask(server.port, "GET", "/work").status == 200
        assert ask(server.port, "GET", "/async").status == 200
        assert server.account is None
    assert app.done[-1] == "down"
    assert sorted(app.done[1:-1]) == ["async", "async", "def", "def"]
    assert server.account is not None
    assert not server.account.abandoned
    assert not server.account.stuck
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))


def test_signals_and_settings_of_the_interpreter_are_not_touched():
    """Whoever runs tests keeps their ^C, and this holds on any thread."""
    import sys

    def state() -> tuple[object, ...]:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
        return (*(signal.getsignal(number) for number in numbers), sys.getswitchinterval(), gc.get_freeze_count())

    before, seen = state(), []

    def serve() -> None:
        with running(App().app) as server:
            seen.append((state(), ask(server.port, "GET", "/work").status))

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()
    assert seen == [(before, 200)]
    assert state() == before


def test_an_event_loop_of_the_caller_is_left_alone():
    """Started within one, as in an `async` test; and what `asyncio.get_event_loop` finds stays where it was."""

    async def ask_within() -> int:
        with running(App().app) as server:
            status = (await asyncio.to_thread(ask, server.port, "GET", "/work")).status
            await asyncio.to_thread(server.stop)
        return status

    assert asyncio.run(ask_within()) == 200
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        with running(App().app):
            pass
        assert asyncio.get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_two_servers_run_side_by_side():
    """Each with its own port, pool and account."""
    one, other = App(), App()
    with running(one.app, pool=2) as first, running(other.app, pool=3) as second:
        assert first.port != second.port
        ask(first.port, "GET", "/work")
        ask(second.port, "GET", "/work")
        ask(second.port, "GET", "/work")
    assert (len(one.done), len(other.done)) == (2, 4)


def test_tasks_that_outlast_the_drain_are_raised():
    """By name, whether they ran, and what did not end; the interpreter goes on."""
    app = App()

    def abandon() -> None:
        with running(app.app, drain_s=0.1) as server:
            ask(server.port, "GET", "/stuck")
            ask(server.port, "GET", "/endless")

    with pytest.raises(TasksAbandoned, match="abandoned 4 tasks, 2 never started") as raised:
        abandon()
    app.release.set()
    account = raised.value.account
    names = sorted((name.rpartition(".")[2], was_running) for name, was_running in account.abandoned)
    assert names == [("endless", True), ("stuck", True), ("work", False), ("work", False)]
    assert [name.partition("-")[0] for name in account.stuck] == ["task"]
    assert "never" not in app.done


def test_what_the_block_raises_is_not_hidden_by_what_was_abandoned():
    """The failed assertion of a test is the news."""
    app, servers = App(), []

    def fail() -> None:
        with running(app.app, drain_s=0.05) as server:
            servers.append(server)
            ask(server.port, "GET", "/endless")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    account = servers[0].account
    assert account is not None
    assert len(account.abandoned) == 2


def test_stop_returns_the_account_and_may_be_called_again_and_from_anywhere():
    """A second call is no second signal: nothing is cut short."""
    app = App()
    with running(app.app) as server:
        ask(server.port, "GET", "/stuck")
        accounts = []
        stopping = [threading.Thread(target=lambda: accounts.append(server.stop())) for _ in range(3)]
        for thread in stopping:
            thread.start()
        time.sleep(0.1)
        assert not accounts
        app.release.set()
        for thread in stopping:
            thread.join()
        assert accounts == [server.stop()] * 3
        assert not server.stop().abandoned
    assert app.done == ["never"]


def test_stop_takes_a_drain_time_of_its_own():
    """What it gives up is told, not raised."""
    app = App()
    with running(app.app) as server:
        ask(server.port, "GET", "/endless")
        account = server.stop(drain_s=0)
    assert len(account.abandoned) == 2


def test_a_task_cannot_wait_for_the_end_of_all_tasks():
    """It is told so, instead of waiting for itself."""
    app, said = FastAPI(), []

    def stop() -> None:
        try:
            server.stop()
        except RuntimeError as error:
            said.append(str(error))

    async def stop_on_loop() -> None:
        stop()

    @app.get("/")
    def root(tasks: BackgroundTasks) -> None:
        tasks.add_task(stop)
        tasks.add_task(stop_on_loop)

    with running(app) as server:
        ask(server.port, "GET", "/")
    assert len(said) == 2
    assert "cannot stop the server that waits for it" in said[0]


@pytest.mark.parametrize("when", ["start-up", "shutdown"])
def test_what_the_lifespan_raises_is_raised(when: str):
    """At the beginning or at the end of the block; and everything has been given back."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if when == "start-up":
            raise LookupError(when)
        yield
        raise LookupError(when)

    ran = []
    with pytest.raises(LookupError, match=when), running(FastAPI(lifespan=lifespan)):
        ran.append(True)
    assert ran == ([] if when == "start-up" else [True])


def test_a_start_that_cannot_succeed_is_raised(tmp_path: Path):
    """The port, the row file, the options."""
    with running(App().app) as server, pytest.raises(CannotServe, match=f"127.0.0.1:{server.port}"):
        running(App().app, port=server.port).__enter__()
    with pytest.raises(CannotServe, match="nowhere"):
        running(App().app, rows=tmp_path / "nowhere" / "t.rows").__enter__()
    with pytest.raises(ValueError, match="workers is 2"):
        running(App().app, workers=2).__enter__()


def test_a_row_file_is_closed_and_no_longer_mapped(tmp_path: Path):
    """A test run of many servers must not run out of address space."""
    path = tmp_path / "tasks.rows"
    with running(App().app, rows=path) as server:
        ask(server.port, "GET", "/work")
        assert str(path) in Path("/proc/self/maps").read_text()
    collect()
    assert str(path) not in Path("/proc/self/maps").read_text()
    file = read_rows(path)
    assert len(file.rows) == 2
    assert file.closed_ns > 0


def serve_once(number: int, folder: Path) -> tuple[weakref.ref[FastAPI], weakref.ref[App]]:
    """One server from start to stop, of a kind by its number."""
    kind = number % 6
    app = App(with_lifespan=kind in (1, 3, 5))
    rows = folder / f"{number}.rows" if kind == 4 else None
    with running(app.app, drain_s=0.02 if kind in (2, 3) else 30, pool=4, rows=rows) as server:
        assert ask(server.port, "GET", "/work").status == 200
        assert ask(server.port, "GET", "/async").status == 200
        assert ask(server.port, "GET", "/general/a/b").status == 200
        if kind in (2, 3):
            # Finished first: what is abandoned then is these tasks alone.
            until(lambda: server.is_quiet, "the quick tasks have ended")
            ask(server.port, "GET", "/stuck" if kind == 2 else "/endless")
            assert len(server.stop().abandoned) == 2
            app.release.set()
    assert sorted(what for what in app.done if what in ("def", "async")) == ["async", "async", "def", "def"]
    if rows is not None:
        rows.unlink()
    return weakref.ref(app.app), weakref.ref(app)


def test_two_hundred_servers_one_after_another_leave_nothing(tmp_path: Path):
    """Threads and descriptors are as before, memory is flat once warm, and every app and server object is gone."""
    before = held()
    warm, refs = 0, []
    for number in range(200):
        refs += serve_once(number, tmp_path)
        if number == 80:
            collect()
            warm = resident()
    collect()
    until(lambda: (threads(), descriptors()) == before, "all threads and descriptors have been given back")
    grown = resident() - warm
    assert [ref for ref in refs if ref() is not None] == []
    assert not any(isinstance(thing, Server) for thing in gc.get_objects())
    # FastAPI's own caches grow with every new endpoint (some 8 KiB a server here); an app with its server is several times that,
    # and each row file has a mapping of 4 MiB.
    assert grown < 12 << 20
