"""Locust files of somebody else, unchanged: their requests are operations with rows, each sent once, and none is lost."""

from __future__ import annotations

import re
import signal
import socket
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.rows import Outcome, RequestError, RowFile

from .helpers import OK, LoadProcess, RawServer, Reply, full_listener

Job = dict[str, Any]
Serve = Callable[[Callable[[int], Reply]], RawServer]
StartLoad = Callable[..., LoadProcess]
Locustfile = Callable[..., Job]

NOT_FOUND = b"HTTP/1.1 404 N\r\nContent-Length: 2\r\n\r\nno"
MOVED = b"HTTP/1.1 303 M\r\nLocation: /new\r\nContent-Length: 5\r\n\r\nmoved"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
HEAD = "from locust import FastHttpUser, HttpUser, LoadTestShape, SequentialTaskSet, TaskSet, constant, events, tag, task\n"


@pytest.fixture
def locustfile(tmp_path: Path, job: Job) -> Locustfile:
    """Writes a Locust file; returns the job of `users` of it."""

    def write(text: str, *, users: int | None = 2, port: int = 1, name: str = "mine.py", **more: Any) -> Job:
        file = tmp_path / name
        file.write_text(HEAD + textwrap.dedent(text))
        own = {key: value for key, value in job.items() if key not in {"rate_per_s", "arrivals", "templates", "max_in_flight"}}
        return {**own, "max_in_flight": 50, "locustfile": str(file), "users": users, "port": port, "duration_s": 0.4, **more}

    return write


def by_path(server: list[RawServer], replies: dict[str, Reply]) -> Callable[[int], Reply]:
    def answer(number: int) -> Reply:
        path = server[0].requests[number].split(b" ", 2)[1].decode()
        return replies.get(path, Reply())

    return answer


def ids_on_the_wire(server: RawServer) -> list[int]:
    found = [re.findall(rb"(?i)\r\nx-op-id: ([0-9a-f]{16})\r\n", request) for request in server.requests]
    assert all(len(ids) == 1 for ids in found), "each request carries exactly one id"
    return sorted(int(ids[0], 16) for ids in found)


def ends(account: RowFile) -> Counter[tuple[str, str, str, int]]:
    return Counter(
        (
            account.names[int(row["route"])],
            Outcome(int(row["outcome"])).name,
            RequestError(int(row["error"])).name,
            int(row["status"]),
        )
        for row in account.rows
    )


def run(load: LoadProcess) -> tuple[dict[str, Any], RowFile]:
    load.go()
    return load.finish(), load.rows()


BOTH = """
class Some(TaskSet):
    @task
    def all(self):
        self.client.get("/plain")
        self.client.get("/things/123?q=1")
        self.client.post("/things", json={"a": 1}, name="make")
        self.client.get("/none")
        self.client.get("/old")
        self.client.get("/chunks", headers={"X-Op-Id": "mine"})
        with self.client.get("/plain", catch_response=True, name="caught") as answer:
            answer.failure("not what I wanted")
        self.user.stop()
class Requests(HttpUser):
    tasks = [Some]
    fixed_count = 1
class Fast(FastHttpUser):
    tasks = [Some]
    fixed_count = 1
"""


def test_every_request_of_both_clients_is_a_row_with_its_id_on_the_wire_once(
    serve: Serve, start_load: StartLoad, locustfile: Locustfile
) -> None:
    """Named as the file names it, or by its path without what differs each time; redirects are requests of their own."""
    servers: list[RawServer] = []
    replies = {"/none": Reply(NOT_FOUND), "/old": Reply(MOVED), "/chunks": Reply(CHUNKED)}
    servers.append(serve(by_path(servers, replies)))
    load = start_load(locustfile(BOTH, port=servers[0].port))
    done, account = run(load)
    rows = account.rows

    assert ids_on_the_wire(servers[0]) == sorted(rows["op"].tolist()) == [(12345 << 32) + k + 1 for k in range(16)]
    assert ends(account) == {
        ("GET /plain", "ACK", "NONE", 200): 2,
        ("GET /things/{id}", "ACK", "NONE", 200): 2,
        ("POST make", "ACK", "NONE", 200): 2,
        ("GET /none", "REJ", "NONE", 404): 2,
        ("GET /old", "REJ", "NONE", 303): 2,
        ("GET /new", "ACK", "NONE", 200): 2,
        ("GET /chunks", "ACK", "NONE", 200): 2,
        ("GET caught", "ACK", "NONE", 200): 2,
    }
    # Nobody was due at a time of their own: that is the closed model, and the file says so.
    assert rows["due_ns"].tolist() == rows["sent_ns"].tolist()
    assert bool((rows["sent_ns"] < rows["done_ns"]).all())
    assert {2, 5} == set(rows["size_bytes"].tolist())
    assert b"closed model" in load.rows_path.read_bytes()[128:192]
    assert (done["planned"], done["sent"], done["shed"], done["users"], done["users_left"]) == (16, 16, 0, 2, 2)
    assert any("marked 2 acknowledged requests as failed" in note for note in done["notes"])
    assert any("not after 0.4 s: no user was left" in note for note in done["notes"])
    assert load.stderr() == ""


BREAKING = """
class Some(TaskSet):
    @task
    def all(self):
        for method in ("GET", "PUT", "POST"):
            self.client.request(method, "/fine")
            self.client.request(method, "/closes")
        self.client.get("/resets")
        self.client.get("/stops")
        self.client.get("/silent", **({"timeout": 0.2} if isinstance(self.user, Requests) else {}))
        self.user.stop()
class Requests(HttpUser):
    tasks = [Some]
    fixed_count = 1
class Fast(FastHttpUser):
    tasks = [Some]
    fixed_count = 1
    network_timeout = 0.2
"""


def test_no_client_ever_sends_again_unseen_and_what_broke_is_indeterminate(
    serve: Serve, start_load: StartLoad, locustfile: Locustfile
) -> None:
    """As shipped, FastHttpUser sends a GET or PUT a dozen times when a kept-alive connection closes after it was read."""
    servers: list[RawServer] = []
    replies = {
        "/closes": Reply(b"", then="close"),
        "/resets": Reply(b"", then="reset"),
        "/stops": Reply(OK[:-1], then="close"),
        "/silent": Reply(b"", then="hold"),
    }
    servers.append(serve(by_path(servers, replies)))
    _, account = run(start_load(locustfile(BREAKING, port=servers[0].port, duration_s=5.0)))

    paths = ["GET /fine", "PUT /fine", "POST /fine", "GET /closes", "PUT /closes", "POST /closes", "GET /resets"]
    came = Counter(request.split(b" HTTP")[0].decode() for request in servers[0].requests)
    assert came == dict.fromkeys([*paths, "GET /stops", "GET /silent"], 2)
    assert ids_on_the_wire(servers[0]) == sorted(account.rows["op"].tolist())
    assert {end[:3]: count for end, count in ends(account).items()} == {
        **dict.fromkeys([(f"{method} /fine", "ACK", "NONE") for method in ("GET", "PUT", "POST")], 2),
        **dict.fromkeys([(f"{method} /closes", "IND", "CLOSED_EARLY") for method in ("GET", "PUT", "POST")], 2),
        ("GET /resets", "IND", "RESET"): 2,
        ("GET /stops", "IND", "CLOSED_EARLY"): 2,
        ("GET /silent", "IND", "TIMED_OUT"): 2,
    }


def test_a_server_that_is_down_is_rejected_and_not_hammered(start_load: StartLoad, locustfile: Locustfile) -> None:
    """Users without any pause would otherwise make thousands of attempts a second while a server restarts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    text = """
    class Requests(HttpUser):
        fixed_count = 1
        @task
        def go(self): self.client.get("/")
    class Fast(FastHttpUser):
        @task
        def go(self): self.client.get("/")
    """
    _, account = run(start_load(locustfile(text, port=port)))

    assert set(ends(account)) == {("GET /", "REJ", "REFUSED", 0)}
    assert 2 <= len(account.rows) <= 2 * (0.4 / 0.05 + 2)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_connection_that_is_not_made_in_time_is_told_apart_from_one_that_was_refused(
    start_load: StartLoad, locustfile: Locustfile, host: str
) -> None:
    """With both clients, and where another address of the same name refuses at once."""
    text = """
    class Requests(HttpUser):
        fixed_count = 1
        @task
        def go(self): self.client.get("/", timeout=0.1)
    class Fast(FastHttpUser):
        connection_timeout = network_timeout = 0.1
        @task
        def go(self): self.client.get("/")
    """
    with full_listener() as port:
        _, account = run(start_load(locustfile(text, host=host, port=port, request_timeout_s=0.1)))

    assert set(ends(account)) == {("GET /", "REJ", "CONNECT_TIMED_OUT", 0)}


def test_at_the_end_nobody_is_cut_off_and_the_farewells_are_sent(
    serve: Serve, start_load: StartLoad, locustfile: Locustfile
) -> None:
    """What is in flight gets its answer, users who pause do not hold the end up, and none begins anything more."""
    text = """
    class Busy(FastHttpUser):
        fixed_count = 3
        @task
        def go(self):
            while True: self.client.get("/slow")
        def on_stop(self): self.client.get("/farewell", name="farewell")
    class Blinking(HttpUser):
        fixed_count = 3
        wait_time = constant(0.01)
        @task
        def go(self): self.client.get("/slow")
        def on_stop(self): self.client.get("/farewell", name="farewell")
    class Resting(FastHttpUser):
        fixed_count = 1
        wait_time = constant(600)
        @task
        def go(self): self.client.get("/once")
        def on_stop(self): self.client.get("/farewell", name="farewell")
    """

    def answer(number: int) -> Reply:
        time.sleep(0.03)
        return Reply()

    load = start_load(locustfile(text, users=7, port=serve(answer).port))
    done, account = run(load)
    rows = account.rows
    is_farewell = np.array([account.names[route] == "GET farewell" for route in rows["route"]])

    assert {int(Outcome.ACK)} == set(rows["outcome"].tolist())
    assert int(is_farewell.sum()) == 7 == done["users"]
    assert done["users_left"] == 0
    first_farewell_ns = int(rows["sent_ns"][is_farewell].min())
    # Those on requests may have been about to send: each looks whether its connection is there still, which takes a turn.
    assert int((rows["sent_ns"][~is_farewell] > first_farewell_ns).sum()) <= 3


def test_the_users_are_shared_out_between_processes_with_their_fixed_counts(
    serve: Serve, start_load: StartLoad, locustfile: Locustfile, tmp_path: Path
) -> None:
    """As Locust's master would: one of which there is one runs in one process only. No operation has two senders."""
    text = """
    class Only(FastHttpUser):
        fixed_count = 1
        def on_start(self): self.client.get("/start", name="only")
        @task
        def go(self): self.client.get("/", name="go")
        wait_time = constant(0.05)
    class Many(HttpUser):
        def on_start(self): self.client.get("/start", name="many")
        @task
        def go(self): self.client.get("/", name="go")
        wait_time = constant(0.05)
    """
    server = serve(lambda _: Reply())
    loads = []
    for process in range(2):
        rows = str(tmp_path / f"r-{process}.rows")
        loads.append(start_load(locustfile(text, users=5, port=server.port, process=process, processes=2, rows=rows)))
    for load in loads:
        assert load.read() == {"ready": True, "planned": 0}
    t0_ns = time.monotonic_ns() + 50_000_000
    for load in loads:
        load.send({"t0_ns": t0_ns})
    told = [load.finish() for load in loads]
    accounts = [load.rows() for load in loads]
    starts = sum((ends(account) for account in accounts), Counter())
    together = np.concatenate([account.rows["op"] for account in accounts])

    assert sorted(each["users"] for each in told) == [2, 3]
    assert (starts["GET only", "ACK", "NONE", 200], starts["GET many", "ACK", "NONE", 200]) == (1, 4)
    assert ids_on_the_wire(server) == sorted(together.tolist())
    assert len(set(together.tolist())) == len(together)


RAISING = """
class Shop(FastHttpUser):
    fixed_count = 2
    wait_time = constant(0.02)
    @task
    def buy(self):
        self.client.get("/")
        {}["price"]
class Leaving(FastHttpUser):
    fixed_count = 1
    @task
    def leave(self): raise SystemExit(7)
class Broken(HttpUser):
    fixed_count = 1
    def on_start(self):
        raise ValueError("no login today")
    @task
    def never(self): self.client.get("/never")
"""


def test_users_who_raise_are_told_with_their_line_and_the_others_go_on(
    serve: Serve, start_load: StartLoad, locustfile: Locustfile
) -> None:
    """Once each with its traceback, and counted; one whose start fails is gone."""
    load = start_load(locustfile(RAISING, users=4, port=serve(lambda _: Reply()).port))
    done, account = run(load)
    errors = {error["text"]: error["count"] for error in done["user_errors"]}
    stderr = load.stderr()

    assert set(errors) == {
        "mine.py, line 9, in buy: KeyError: 'price'",
        "mine.py, line 13, in leave: SystemExit: 7",
        "mine.py, line 17, in on_start: ValueError: no login today",
    }
    assert errors["mine.py, line 9, in buy: KeyError: 'price'"] == len(account.rows) > 2
    assert errors["mine.py, line 17, in on_start: ValueError: no login today"] == 1
    assert errors["mine.py, line 13, in leave: SystemExit: 7"] == 1
    assert stderr.count("Traceback") == 3
    assert "2 of 4 users left before the end" in done["notes"]


def test_what_locust_offers_a_file_is_there(serve: Serve, start_load: StartLoad, locustfile: Locustfile) -> None:
    """Events, options of its own, tasks in sequence, a name for several requests; Locust's own settings have no say."""
    text = """
    import os
    import requests
    heard = []
    @events.init_command_line_parser.add_listener
    def _(parser): parser.add_argument("--flavour", env_var="LOCUST_FLAVOUR", default="none")
    @events.init.add_listener
    def _(environment, **_): heard.append(f"init {environment.parsed_options.flavour}")
    @events.test_start.add_listener
    def _(environment, **_): heard.append("start"); requests.get(environment.host + "/prepare")
    @events.quitting.add_listener
    def _(environment, **_): print(heard, environment.runner.user_count)
    class User(FastHttpUser):
        host = "https://shop.example.com/v1/"
        class Steps(SequentialTaskSet):
            @task
            def one(self):
                with self.client.rename_request("both"):
                    self.client.get("/a")
                    self.client.get("/b")
            @task
            def two(self):
                self.client.get("https://shop.example.com/elsewhere")
                self.user.environment.runner.quit()
        tasks = [Steps]
    """
    server = serve(lambda _: Reply())
    env = {"LOCUST_FLAVOUR": "vanilla", "LOCUST_HOST": "http://127.0.0.1:9", "LOCUST_USERS": "50", "PATH": "/usr/bin:/bin"}
    load = start_load(locustfile(text, users=1, port=server.port, duration_s=600.0), env=env)
    done, account = run(load)

    assert "['init vanilla', 'start'] 0" in load.stderr()
    assert ends(account) == {("GET /v1/prepare", "ACK", "NONE", 200): 1, ("GET both", "ACK", "NONE", 200): 2}
    assert [request.split(b" ")[1] for request in server.requests] == [b"/v1/prepare", b"/v1/a", b"/v1/b"]
    assert any("the host https://shop.example.com/v1/ of the locustfile was replaced" in note for note in done["notes"])
    assert any("1 requests to shop.example.com:443 were not sent" in note for note in done["notes"])
    assert any("the locustfile ended it" in note for note in done["notes"])


def test_retries_and_redirects_that_the_file_asks_for_are_requests_of_their_own(
    serve: Serve, start_load: StartLoad, locustfile: Locustfile
) -> None:
    """None of them is unseen: each has an id and a row, though the file made one call."""
    text = """
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry
    class User(HttpUser):
        @task
        def go(self):
            self.client.mount("http://", HTTPAdapter(max_retries=Retry(2, status_forcelist=[503], allowed_methods=None)))
            self.client.post("/busy", name="busy")
            self.client.post("/old", name="moved")
            self.stop()
    """
    servers: list[RawServer] = []
    busy = Reply(b"HTTP/1.1 503 B\r\nContent-Length: 0\r\n\r\n")
    servers.append(serve(by_path(servers, {"/busy": busy, "/old": Reply(MOVED)})))
    _, account = run(start_load(locustfile(text, users=1, port=servers[0].port)))

    assert ids_on_the_wire(servers[0]) == sorted(account.rows["op"].tolist())
    assert len(set(account.rows["op"].tolist())) == 5
    assert ends(account) == {
        ("POST busy", "REJ", "NONE", 503): 3,
        ("POST moved", "REJ", "NONE", 303): 1,
        ("GET moved", "ACK", "NONE", 200): 1,
    }


def test_a_load_shape_is_followed_to_its_end(serve: Serve, start_load: StartLoad, locustfile: Locustfile) -> None:
    """Users come and go as it says, none in the middle of a request; the load ends when it does."""
    text = """
    class User(HttpUser):
        wait_time = constant(0.01)
        @task
        def go(self): self.client.get("/")
    class Shape(LoadTestShape):
        def tick(self):
            at = self.get_run_time()
            return (4, 100) if at < 0.5 else (1, 100) if at < 1.5 else None
    """
    load = start_load(locustfile(text, users=None, port=serve(lambda _: Reply()).port, duration_s=600.0))
    done, account = run(load)

    assert set(ends(account)) == {("GET /", "ACK", "NONE", 200)}
    assert (done["users"], done["users_left"]) == (4, 0)
    assert any("its load shape ended" in note for note in done["notes"])


def test_an_answer_that_a_user_drops_is_indeterminate_and_holds_nothing_up(
    serve: Serve, start_load: StartLoad, locustfile: Locustfile
) -> None:
    """A stream that is not read to its end has no end; one that is read is acknowledged."""
    text = """
    class Some(TaskSet):
        @task
        def go(self):
            self.client.get("/endless", stream=True)
            with self.client.get("/chunks", stream=True, catch_response=True) as answer:
                got = b"".join(piece if isinstance(piece, bytes) else piece.encode() for piece in answer.iter_content(2))
                assert got == b"abcde", got
            self.user.stop()
    class Requests(HttpUser):
        tasks = [Some]
        fixed_count = 1
    class Fast(FastHttpUser):
        tasks = [Some]
        fixed_count = 1
    """
    servers: list[RawServer] = []
    endless = Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nabc", then="hold")
    servers.append(serve(by_path(servers, {"/endless": endless, "/chunks": Reply(CHUNKED)})))
    load = start_load(locustfile(text, port=servers[0].port, request_timeout_s=60.0, duration_s=5.0))
    began_s = time.monotonic()
    done, account = run(load)

    assert ends(account) == {("GET /endless", "IND", "OTHER", 200): 2, ("GET /chunks", "ACK", "NONE", 200): 2}
    assert done["user_errors"] == []
    assert time.monotonic() - began_s < 30


def test_a_stop_and_a_kill_leave_a_true_account(serve: Serve, start_load: StartLoad, locustfile: Locustfile) -> None:
    """SIGTERM waits for the answers in flight and closes; while a request is held its row is there, open."""
    text = """
    class User(FastHttpUser):
        @task
        def go(self): self.client.get("/")
    """
    server = serve(lambda number: Reply(b"", then="hold") if number > 2 else Reply())
    load = start_load(locustfile(text, users=1, port=server.port, duration_s=600.0, request_timeout_s=0.5))
    load.go()
    server.wait_for_requests(4, timeout_s=10.0)
    open_rows = load.rows().rows
    load.process.send_signal(signal.SIGTERM)
    load.finish()
    account = load.rows()

    assert open_rows["outcome"].tolist() == [1, 1, 1, 0]
    assert bool((open_rows["sent_ns"] > 0).all())
    assert account.rows["outcome"].tolist() == [1, 1, 1, 0]
    assert account.closed_ns > 0


def test_a_mistake_in_the_file_is_told_with_its_line(start_load: StartLoad, locustfile: Locustfile) -> None:
    """Status 2, before anything is sent; in a module beside it the line is that of the file which imports it."""
    wrong = {
        "syntax.py": ("class User(HttpUser)\n    pass", r"syntax\.py, line 2: expected ':': class User\(HttpUser\)"),
        "name.py": (
            "class User(HttpUser):\n    x = nothing",
            r"name\.py, line 3, in User: NameError: name 'nothing' is not defined",
        ),
        "imports.py": (
            "import not_there_at_all",
            r"imports\.py, line 2, .*No module named 'not_there_at_all'; .* must be installed",
        ),
        "empty.py": ("", r"empty\.py: there is no user in it"),
        "leaves.py": ("raise SystemExit(3)", r"leaves\.py, line 2, in <module>: SystemExit: 3"),
        "shapes.py": (
            "class U(HttpUser): pass\nclass A(LoadTestShape):\n def tick(self): pass\nclass B(A): pass",
            r"it has 2 load shapes \(A, B\)",
        ),
    }
    loads = {
        name: start_load(locustfile(text, name=name, rows=str(Path(locustfile("")["rows"]).with_name(f"{name}.rows"))))
        for name, (text, _) in wrong.items()
    }

    for name, (_, expected) in wrong.items():
        assert loads[name].process.wait(20) == 2
        assert re.search(f"^error: locustfile .*{expected}", loads[name].stderr(), re.MULTILINE)
