"""Many processes on one port: real supervisors, real workers, ended by pid."""

from __future__ import annotations

import contextlib
import http.client
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.rows import read_rows
from server.__main__ import main
from server._supervisor import MOST_FAST_DEATHS

from .helpers import PATIENCE_S, Answer, ask, stays, stub, until

APP = stub("""
with open("imported", "a") as file:
    file.write(f"{os.getpid()}\\n")

@app.get("/")
def root():
    return os.getpid()

@app.get("/sleep")
def sleeping(seconds: float, background_tasks: BackgroundTasks):
    background_tasks.add_task(time.sleep, seconds)
    return os.getpid()
""")
LONG = "60"

Start = Callable[..., "Workers"]


class Workers:
    """A supervisor in its own session, its streams in files. Everything of the session is killed at `end`."""

    def __init__(self, folder: Path, source: str, *options: str, command: tuple[str, ...] = (), **how: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "appmod.py").write_text(source, encoding="utf-8")
        self.folder = folder
        command = command or ("-m", "server", "appmod:app", "--port", "0", "--rows", "tasks.rows", "--workers", "2", *options)
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                **{"cwd": folder, "stdin": subprocess.DEVNULL, "stdout": out, "stderr": err, "start_new_session": True, **how},
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            )

    def ready(self) -> Workers:
        """Returns once all workers serve."""
        until(lambda: " workers (pid" in self.said() or self.process.poll() is not None, "all workers serve", 2 * PATIENCE_S)
        assert self.process.poll() is None, self.said()
        return self

    def said(self) -> str:
        return (self.folder / "stderr").read_text(encoding="utf-8", errors="replace")

    @property
    def port(self) -> int:
        found = re.search(r"serving on http://\S+:(\d+) ", self.said())
        assert found, self.said()
        return int(found[1])

    def get(self, path: str) -> Answer:
        return ask(self.port, "GET", path)

    def answering(self, count: int) -> set[int]:
        """The pids of `count` workers, asked until so many have answered."""
        pids: set[int] = set()

        def enough() -> bool:
            pids.add(self.get("/").json())
            return len(pids) >= count

        until(enough, f"{count} workers have answered", 2 * PATIENCE_S)
        return pids

    def pids(self) -> list[int]:
        """All workers that ever imported the app."""
        return [int(line) for line in (self.folder / "imported").read_text().split()]

    def alive(self) -> list[int]:
        return [pid for pid in self.pids() if is_alive(pid)]

    def tasks(self) -> list[dict[str, int]]:
        """The rows of all workers."""
        files = [read_rows(path) for path in sorted(self.folder.glob("tasks-*.rows"))]
        fields = ("accepted_ns", "started_ns", "finished_ns", "dropped_ns")
        return [{field: int(row[field]) for field in fields} for file in files for row in file.rows]

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def send_to_all(self, number: signal.Signals) -> None:
        """To every process of the group, as a terminal does."""
        os.killpg(self.process.pid, number)

    def wait(self) -> int:
        return self.process.wait(3 * PATIENCE_S)

    def stop(self) -> int:
        self.send(signal.SIGTERM)
        return self.wait()

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts supervisors; they and their workers end with the test."""
    started: list[Workers] = []

    def begin(source: str = APP, *options: str, **how: object) -> Workers:
        started.append(Workers(tmp_path / f"server-{len(started)}", source, *options, **how))  # type: ignore[arg-type]
        return started[-1]

    yield begin
    for server in started:
        server.end()


@pytest.fixture(autouse=True)
def hang_ups_are_heard() -> Iterator[None]:
    """Also where the tests run under `nohup`: that a signal is ignored is inherited, a handler is not."""
    before = signal.getsignal(signal.SIGHUP)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, frame: None)
    yield
    signal.signal(signal.SIGHUP, before)


def test_workers_share_a_port_and_each_keeps_its_own_account(start: Start):
    """Both answer; the supervisor never imports the app; TERM drains all, status 0, every task of every file finished."""
    server = start().ready()
    pids = server.answering(2)
    assert pids == set(server.pids())
    assert server.process.pid not in pids
    for _ in range(20):
        server.get("/sleep?seconds=0.1")
    assert server.stop() == 0, server.said()
    assert sorted(path.name for path in server.folder.glob("*.rows")) == ["tasks-1.rows", "tasks-2.rows"]
    assert all(read_rows(path).closed_ns for path in server.folder.glob("*.rows"))
    tasks = server.tasks()
    assert len(tasks) == 20
    assert all(task["finished_ns"] for task in tasks)
    assert not server.alive()
    assert "Traceback" not in server.said()


def test_a_worker_that_dies_is_replaced_and_the_other_goes_on(start: Start):
    """Killed, or ended by somebody else; in words. Its account stays, the new one has another."""
    server = start().ready()
    killed, other = server.answering(2)
    # It must have served for a while: a quick death is followed by a pause.
    assert stays(lambda: is_alive(killed) and is_alive(other), 1.1)
    os.kill(killed, signal.SIGKILL)
    (new,) = until(lambda: set(server.pids()) - {killed, other}, "another one has been started")
    until(lambda: new in server.answering(1), "it answers", 2 * PATIENCE_S)
    assert is_alive(other)
    assert re.search(rf"\(pid {killed}\) was killed by SIGKILL; starting another$", server.said(), re.M), server.said()
    os.kill(other, signal.SIGTERM)
    until(lambda: server.said().count("task threads") == 4, "one more serves", 2 * PATIENCE_S)
    assert re.search(rf"\(pid {other}\) ended with status 0; starting another", server.said())
    assert server.stop() == 0, server.said()
    assert sorted(path.name for path in server.folder.glob("*.rows")) == [f"tasks-{number}.rows" for number in (1, 2, 3, 4)]


# One that comes to nothing at all, so that ten of them are over in a moment.
AT_ITS_START = """
import os
open("imported", "a").close()
if "AFTERLOAD_WORKER" in os.environ:
    raise OSError("no database")
from server import FastAPI
FastAPI().serve(port=0, workers=2)
"""

# Every worker but the second, which goes on serving until the supervisor gives up.
SOON = (
    APP
    + """
if not os.environ["AFTERLOAD_WORKER"].startswith("2 "):
    threading.Timer(0.5, os._exit, [9]).start()
"""
)


@pytest.mark.parametrize(("source", "command"), [(AT_ITS_START, ("appmod.py",)), (SOON, ())], ids=["at its start", "soon"])
def test_workers_that_keep_dying_are_given_up(start: Start, source: str, command: tuple[str, ...]):
    """After five quick deaths in a row, with a pause before each new one: status 1 and a sentence; one that serves is drained."""
    server = start(source, command=command)
    # Each of them is a whole server that starts after the one before has died.
    assert server.process.wait(MOST_FAST_DEATHS * PATIENCE_S) == 1
    said = server.said()
    assert "giving up" in said
    assert "starting another in 0.4 s" in said
    assert MOST_FAST_DEATHS <= len(re.findall(r"worker \d+ \(pid", said)) <= 2 * MOST_FAST_DEATHS + 4
    assert bool(re.search(r"worker 2 \(pid \d+\) ended with status 0, as it was asked to end$", said, re.M)) == (source is SOON)
    assert not server.alive()


def test_an_app_that_cannot_be_served_is_not_tried_again(start: Start):
    """Status 2 and what is wrong, as from a single process."""
    server = start(command=("-m", "server", "appmod:nothing", "--port", "0", "--workers", "2"))
    assert server.wait() == 2
    assert "appmod:nothing is NoneType" in server.said()
    assert "starting another" not in server.said()


def test_a_start_that_cannot_succeed_is_refused_by_the_supervisor(start: Start):
    """The port and the row files are looked at before there is any worker."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        server = start(command=("-m", "server", "appmod:app", "--port", place.partition(":")[2], "--workers", "2"))
        assert (server.wait(), place in server.said(), "in use" in server.said()) == (1, True, True), server.said()
    (server.folder.parent / "tasks-7.rows").write_bytes(b"precious")
    again = start(command=("-m", "server", "appmod:app", "--port", "0", "--workers", "2", "--rows", "../tasks.rows"))
    assert (again.wait(), "tasks-7.rows: File exists" in again.said()) == (1, True), again.said()
    assert not (server.folder / "imported").exists()
    assert not (again.folder / "imported").exists()


@pytest.mark.parametrize("options", [("--workers", "0"), ("--workers", "300"), ("--workers", "2", "--admin-port", "9000")])
def test_what_several_workers_cannot_have_is_named(options: tuple[str, ...]):
    """Before anything is started: status 2, what was given and what is allowed."""
    result = CliRunner().invoke(main, ["appmod:app", *options])
    assert result.exit_code == 2
    assert f"{options[-2].lstrip('-').replace('-', '_')} is {options[-1]}; allowed" in " ".join(result.stderr.split())


def test_a_hang_up_replaces_every_worker_without_refusing_anybody(start: Start):
    """Rolling: one after another, each only when its successor serves; tasks of the old ones finish."""
    server = start().ready()
    old = server.answering(2)
    server.get("/sleep?seconds=0.5")
    port, stop, seen, wrong = server.port, threading.Event(), [], []

    def keep_asking() -> None:
        while not stop.is_set():
            try:
                seen.append(ask(port, "GET", "/").status)
            except (OSError, http.client.HTTPException) as error:
                wrong.append(repr(error))

    asking = [threading.Thread(target=keep_asking) for _ in range(3)]
    for thread in asking:
        thread.start()
    server.send(signal.SIGHUP)
    until(lambda: "the rolling restart has ended" in server.said(), "all have been replaced", 3 * PATIENCE_S)
    stop.set()
    for thread in asking:
        thread.join()
    assert wrong == []
    assert set(seen) == {200}
    assert not any(is_alive(pid) for pid in old)
    assert server.answering(2).isdisjoint(old)
    assert server.stop() == 0
    assert all(task["finished_ns"] for task in server.tasks())


def test_a_hang_up_with_a_broken_app_leaves_the_old_workers(start: Start):
    """What does not start replaces nobody."""
    server = start().ready()
    old = server.answering(2)
    (server.folder / "appmod.py").write_text("raise RuntimeError('broken')")
    server.send(signal.SIGHUP)
    until(lambda: "the rolling restart is given up" in server.said(), "it has been tried", 2 * PATIENCE_S)
    assert server.answering(2) == old
    assert server.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_is_one_request_to_drain(start: Start, number: signal.Signals):
    """^C in a terminal reaches the workers too, and so does a service manager's TERM: nothing is cut short."""
    server = start().ready()
    for _ in range(6):
        server.get("/sleep?seconds=1")
    server.send_to_all(number)
    server.send_to_all(number)
    assert server.wait() == 0, server.said()
    assert [bool(task["finished_ns"]) for task in server.tasks()] == [True] * 6
    assert "Traceback" not in server.said()


def test_a_second_signal_stops_all_at_once(start: Start):
    """Status 3, and the accounts say what was given up."""
    server = start(APP, "--drain", LONG).ready()
    server.get(f"/sleep?seconds={LONG}")
    server.send_to_all(signal.SIGINT)
    until(lambda: "stopping 2 workers" in server.said(), "it drains")
    time.sleep(0.15)
    server.send_to_all(signal.SIGINT)
    assert server.wait() == 3
    assert [bool(task["dropped_ns"]) for task in server.tasks()] == [True]
    assert not server.alive()


def test_tasks_abandoned_by_any_worker_are_the_status(start: Start):
    """3, as from a single process; every worker drains as long as it was told."""
    server = start(APP, "--drain", "0.3").ready()
    server.get(f"/sleep?seconds={LONG}")
    assert server.stop() == 3
    assert "abandoned 1 tasks" in server.said()


def test_a_supervisor_that_is_killed_leaves_no_orphans(start: Start):
    """Its workers finish what they have accepted and end."""
    server = start().ready()
    pids = server.answering(2)
    server.get("/sleep?seconds=0.5")
    server.send(signal.SIGKILL)
    server.wait()
    until(lambda: not any(is_alive(pid) for pid in pids), "the workers have ended", 2 * PATIENCE_S)
    assert [bool(task["finished_ns"]) for task in server.tasks()] == [True]


SCRIPT = """
print("before", len(sys.argv), flush=True)
if __name__ == "__main__":
    app.serve(port=0, workers=2, drain_s=0.5)
    print("after", flush=True)
    sys.exit(7)
"""


def test_a_script_can_serve_itself_with_workers(start: Start):
    """Each worker runs the script again, with its arguments; what comes after serving happens once."""
    server = start(APP + SCRIPT, command=("appmod.py", "one")).ready()
    workers = server.answering(2)
    assert set(server.pids()) - {server.process.pid} == workers
    assert server.stop() == 7
    assert (server.folder / "stdout").read_text().split() == ["before", "2"] * 3 + ["after"]


def test_a_script_that_abandons_tasks_does_not_go_on(start: Start):
    """As with one process: the status says so."""
    server = start(APP + SCRIPT, command=("appmod.py",)).ready()
    server.get(f"/sleep?seconds={LONG}")
    assert server.stop() == 3
    assert "after" not in (server.folder / "stdout").read_text()


def test_a_program_from_a_prompt_cannot_be_run_again(start: Start):
    """It is told so, instead of starting workers that wait for input."""
    source = "from server import FastAPI\nFastAPI().serve(port=0, workers=2)\n"
    read, write = os.pipe()
    os.write(write, source.encode())
    os.close(write)
    with os.fdopen(read) as text:
        server = start(command=("-",), stdin=text)
        assert server.wait() == 1
    assert "CannotServe" in server.said()
    assert "put it into a file" in server.said()


def test_programs_that_a_worker_starts_are_no_workers(start: Start):
    """They inherit neither the listening socket nor the environment by which a worker knows itself."""
    source = (
        APP
        + """
import subprocess
@app.get("/child")
def child():
    program = "import os; print(sorted(os.listdir('/proc/self/fd'), key=int), 'AFTERLOAD_WORKER' in os.environ)"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, close_fds=False).stdout
"""
    )
    server = start(source).ready()
    descriptors, _, is_worker = server.get("/child").json().strip().rpartition(" ")
    # Its three streams, and the one of the listing itself.
    assert (descriptors, is_worker) == ("['0', '1', '2', '3']", "False")
    assert server.stop() == 0


def in_a_terminal(folder: Path, *command: str) -> tuple[int, int]:
    """(pid, descriptor of the terminal) of a command that leads a session with a terminal of its own."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.dup2(os.open("stderr", os.O_WRONLY | os.O_CREAT, 0o600), 2)
        os.execv(sys.executable, [sys.executable, *command])
    return pid, terminal


@pytest.mark.parametrize("workers", [1, 2])
def test_a_terminal_that_is_closed_stops_the_server_in_good_order(tmp_path: Path, workers: int):
    """SIGHUP because the terminal has gone drains, with one process and with many."""
    (tmp_path / "appmod.py").write_text(APP)
    command = ("-m", "server", "appmod:app", "--port", "0", "--rows", "tasks.rows", "--workers", str(workers))
    pid, terminal = in_a_terminal(tmp_path, *command)
    ended = False
    try:
        said = tmp_path / "stderr"
        sentence = "2 workers (pid" if workers == 2 else "task threads"
        until(lambda: said.exists() and sentence in said.read_text(), "it serves", 2 * PATIENCE_S)
        found = re.search(r":(\d+) ", said.read_text())
        assert found
        ask(int(found[1]), "GET", "/sleep?seconds=0.5")
        os.close(terminal)
        ended = until(lambda: os.waitpid(pid, os.WNOHANG)[0], "it has ended", 2 * PATIENCE_S)
    finally:
        if not ended:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    rows = [row for path in tmp_path.glob("*.rows") for row in read_rows(path).rows]
    assert [bool(row["finished_ns"]) for row in rows] == [True]
    assert "rolling" not in said.read_text()


def test_a_hang_up_drains_a_single_process_unless_it_was_told_to_ignore_it(start: Start):
    """As TERM does; but under `nohup` it goes on."""
    options = ("-m", "server", "appmod:app", "--port", "0", "--rows", "tasks.rows")
    server = start(command=options)
    until(lambda: "task threads" in server.said(), "it serves", 2 * PATIENCE_S)
    server.get("/sleep?seconds=0.3")
    server.send(signal.SIGHUP)
    assert server.wait() == 0
    assert "every accepted task has ended" in server.said()
    ignoring = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    program = f"{ignoring}; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    deaf = start(command=("-c", program, *options))
    until(lambda: "task threads" in deaf.said(), "it serves", 2 * PATIENCE_S)
    deaf.send(signal.SIGHUP)
    assert stays(lambda: deaf.process.poll() is None, 0.3)
    assert deaf.get("/").status == 200
    assert deaf.stop() == 0


def test_signals_that_come_together_are_one_request(start: Start):
    """`timeout` sends TERM twice: to its child and to the child's group."""
    server = start(command=("-m", "server", "appmod:app", "--port", "0", "--rows", "tasks-1.rows"))
    until(lambda: "task threads" in server.said(), "it serves", 2 * PATIENCE_S)
    server.get("/sleep?seconds=0.5")
    for _ in range(3):
        server.send(signal.SIGTERM)
        time.sleep(0.002)
    assert server.wait() == 0
    assert [bool(task["finished_ns"]) for task in server.tasks()] == [True]
