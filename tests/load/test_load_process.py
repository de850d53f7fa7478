"""The load process as a whole: driven over its pipes as the session does, judged by its rows."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.load.pacing import arrival_times_ns, schedule_of_process
from harness.load.profile import steady
from harness.rows import Gauge, Kind, Outcome, RequestError

from .helpers import OK, ROOT, LoadProcess, RawServer, Reply

Job = dict[str, Any]
Serve = Callable[[Callable[[int], Reply]], RawServer]
StartLoad = Callable[..., LoadProcess]


def test_every_arrival_is_sent_when_due_and_recorded(serve: Serve, start_load: StartLoad, job: Job) -> None:
    """One row per arrival with all its words; the wire carries the same ids, once each, in header, path and body."""
    server = serve(lambda _: Reply())
    job["templates"][0]["path"] = "/register/{op}"
    load = start_load({**job, "port": server.port})
    t0_ns = load.go()
    done = load.finish()
    account = load.rows()
    rows = account.rows

    assert {key: done[key] for key in ("planned", "sent", "shed")} == {"planned": 10, "sent": 10, "shed": 0}
    assert 0 <= done["cpu_share"] <= 1.5
    assert [(12345 << 32) + k + 1 for k in range(10)] == sorted(rows["op"].tolist())
    assert [t0_ns + k * 10_000_000 for k in range(10)] == sorted(rows["due_ns"].tolist())
    assert bool((rows["due_ns"] <= rows["sent_ns"]).all())
    assert bool((rows["sent_ns"] < rows["done_ns"]).all())
    assert {(int(Outcome.ACK), 200, 0, 1, 2)} == {
        (r["outcome"], r["status"], r["error"], r["attempt"], r["size_bytes"]) for r in rows
    }
    assert account.names[int(rows["route"][0])] == "POST /register"
    assert (account.kind, account.holes) == (Kind.REQUESTS, 0)
    assert account.closed_ns > int(rows["done_ns"].max())
    on_the_wire = sorted(server.requests)
    for request, op in zip(on_the_wire, sorted(rows["op"].tolist()), strict=True):
        digits = f"{op:016x}".encode()
        assert request.startswith(b"POST /register/" + digits + b" HTTP/1.1\r\n")
        assert b"X-Op-Id: " + digits + b"\r\n" in request
        assert request.endswith(b'{"email": "u' + digits + b'@example.org"}')
    gauges = account.gauges
    assert [t0_ns, 10, 10, 0, 0] == [
        gauges[g] for g in (Gauge.READY, Gauge.ACCEPTED, Gauge.STARTED, Gauge.REQUESTS_IN_FLIGHT, Gauge.REFUSED)
    ]
    assert gauges[Gauge.CPU] > 0
    assert load.stderr() == ""


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
def test_no_request_is_ever_sent_twice(serve: Serve, start_load: StartLoad, job: Job, method: str) -> None:
    """On a kept-alive connection that is closed after a request was read, that request is one row and was on the wire once."""
    server = serve(lambda number: Reply() if number == 0 else Reply(b"", then="close"))
    job["templates"][0]["method"] = method
    load = start_load({**job, "port": server.port, "rate_per_s": 10.0, "duration_s": 0.2})
    load.go()
    load.finish()
    rows = load.rows().rows

    assert 2 == len(server.requests) == len(rows)
    assert rows["outcome"].tolist() == [Outcome.ACK, Outcome.IND]
    assert rows["error"].tolist() == [RequestError.NONE, RequestError.CLOSED_EARLY]


@pytest.mark.parametrize(
    ("reply", "outcome", "error", "status"),
    [
        (Reply(b"HTTP/1.1 404 N\r\nContent-Length: 0\r\n\r\n"), Outcome.REJ, RequestError.NONE, 404),
        (Reply(b"HTTP/1.1 503 S\r\nContent-Length: 2\r\n\r\nno"), Outcome.REJ, RequestError.NONE, 503),
        (Reply(b"", then="reset"), Outcome.IND, RequestError.RESET, 0),
        (Reply(OK[:-1], then="close"), Outcome.IND, RequestError.CLOSED_EARLY, 200),
    ],
)
def test_what_became_of_a_request_is_in_its_row(
    serve: Serve, start_load: StartLoad, job: Job, reply: Reply, outcome: Outcome, error: RequestError, status: int
) -> None:
    """Outcome, error and status are stored, and `done` with them."""
    load = start_load({**job, "port": serve(lambda _: reply).port, "duration_s": 0.03})
    load.go()
    load.finish()
    rows = load.rows().rows

    assert [(outcome, error, status)] * 3 == [(row["outcome"], row["error"], row["status"]) for row in rows]
    assert bool((rows["done_ns"] > rows["sent_ns"]).all())


def test_a_server_that_is_not_there_is_rejected_not_indeterminate(start_load: StartLoad, job: Job) -> None:
    """What surely never reached the server is REJ with REFUSED, and takes no longer than the schedule."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    load = start_load({**job, "port": port})
    load.go()
    done = load.finish()
    rows = load.rows().rows

    assert 10 == done["sent"] == len(rows)
    assert {(int(Outcome.REJ), int(RequestError.REFUSED))} == {(row["outcome"], row["error"]) for row in rows}


def test_a_row_is_published_before_its_request_leaves_and_survives_a_kill(serve: Serve, start_load: StartLoad, job: Job) -> None:
    """While the server holds a request, its row is there: sent, without an end. Killing the load process leaves it so."""
    server = serve(lambda _: Reply(b"", then="hold"))
    load = start_load({**job, "port": server.port, "duration_s": 0.03})
    load.go()
    server.wait_for_requests(3)

    for kill in (False, True):
        if kill:
            load.process.kill()
            load.process.wait(5)
        account = load.rows()
        assert len(account.rows) == 3
        assert bool((account.rows["sent_ns"] > 0).all())
        assert [0, 0, 0] == account.rows["done_ns"].tolist() == account.rows["outcome"].tolist()
        assert account.closed_ns == 0
        assert account.gauges[Gauge.REQUESTS_IN_FLIGHT] == 3


@pytest.mark.parametrize("trickle", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nabc"])
def test_a_request_that_is_never_answered_ends_as_timed_out_and_nothing_vanishes(
    serve: Serve, start_load: StartLoad, job: Job, trickle: bytes
) -> None:
    """At the end of the schedule the process waits for what is in flight; a 2xx without its body is no acknowledgement."""
    server = serve(lambda _: Reply(trickle, then="hold"))
    load = start_load({**job, "port": server.port, "request_timeout_s": 0.4})
    load.go()
    done = load.finish()
    rows = load.rows().rows

    assert 10 == done["sent"] == len(rows)
    assert {(int(Outcome.IND), int(RequestError.TIMED_OUT))} == {(row["outcome"], row["error"]) for row in rows}
    took_s = (rows["done_ns"] - rows["sent_ns"]) / 1e9
    assert float(took_s.min()) >= 0.4
    assert float(took_s.max()) < 0.9


def test_an_answer_that_trickles_forever_ends_at_the_time_out_of_the_whole_request(
    serve: Serve, start_load: StartLoad, job: Job
) -> None:
    """A byte now and then renews no time-out."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        load = start_load({**job, "port": listener.getsockname()[1], "duration_s": 0.01, "request_timeout_s": 0.5})
        load.go()
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            until = time.monotonic() + 2
            while time.monotonic() < until:
                try:
                    connection.sendall(b"x")
                except OSError:
                    break
                time.sleep(0.05)
        load.finish()
    row = load.rows().rows[0]

    assert (row["outcome"], row["error"]) == (Outcome.IND, RequestError.TIMED_OUT)
    assert 0.5 <= (int(row["done_ns"]) - int(row["sent_ns"])) / 1e9 < 1.0


def test_arrivals_beyond_the_limit_in_flight_are_shed_and_counted(serve: Serve, start_load: StartLoad, job: Job) -> None:
    """A shed arrival is a row with its due time, never sent; planned = sent + shed."""
    server = serve(lambda _: Reply(b"", then="hold"))
    load = start_load({**job, "port": server.port, "max_in_flight": 3, "request_timeout_s": 0.5})
    load.go()
    done = load.finish()
    account = load.rows()
    shed = account.rows[account.rows["error"] == RequestError.SHED]

    assert (done["planned"], done["sent"], done["shed"]) == (10, 3, 7)
    assert len(server.requests) == 3
    assert (len(account.rows), len(shed)) == (10, 7)
    assert {(int(Outcome.REJ), 0, 0)} == {(row["outcome"], row["sent_ns"], row["done_ns"]) for row in shed}
    assert bool((shed["due_ns"] > 0).all())
    assert account.gauges[Gauge.REFUSED] == 7


def test_two_processes_send_one_schedule_between_them(serve: Serve, start_load: StartLoad, job: Job, tmp_path: Path) -> None:
    """Each operation is sent by exactly one of them, at the time at which one process alone would have sent it."""
    server = serve(lambda _: Reply())
    loads = []
    for process in range(2):
        rows = str(tmp_path / f"r-{process}.rows")
        loads.append(start_load({**job, "port": server.port, "process": process, "processes": 2, "rows": rows}))
    ready = [load.read() for load in loads]
    assert [each["planned"] for each in ready] == [5, 5]
    whole = schedule_of_process(arrival_times_ns("constant", steady(100, 0.1), 1), [1.0], 1, process=0, processes=1)
    assert {whole.digest} == {each["schedule"] for each in ready}, "each says which schedule it has a part of"
    t0_ns = time.monotonic_ns() + 50_000_000
    for load in loads:
        load.send({"t0_ns": t0_ns})
    for load in loads:
        load.finish()
    together = np.concatenate([load.rows().rows for load in loads])

    assert [(12345 << 32) + k + 1 for k in range(10)] == sorted(together["op"].tolist())
    assert {t0_ns + k * 10_000_000 for k in range(10)} == set(together["due_ns"].tolist())


@pytest.mark.parametrize("how", ["line", "SIGTERM"])
def test_a_stop_sends_nothing_more_waits_for_what_is_in_flight_and_ends_well(
    serve: Serve, start_load: StartLoad, job: Job, how: str
) -> None:
    """Far from the end of its schedule it stops at once; the request in flight gets its answer into its row."""

    def slow(_: int) -> Reply:
        time.sleep(0.4)
        return Reply()

    server = serve(slow)
    load = start_load({**job, "port": server.port, "rate_per_s": 2.0, "duration_s": 600.0})
    load.go()
    server.wait_for_requests(1)
    if how == "line":
        load.send({"stop": True})
    else:
        load.process.send_signal(signal.SIGTERM)
    done = load.finish()
    account = load.rows()

    assert (done["planned"], done["sent"], done["shed"]) == (1200, 1, 0)
    assert account.rows["outcome"].tolist() == [Outcome.ACK]
    assert account.closed_ns > 0


def test_a_stop_before_the_start_ends_well_with_nothing_sent(start_load: StartLoad, job: Job) -> None:
    """A run that is called off before its load leaves an empty, closed account."""
    load = start_load(job)
    load.read()
    load.send({"stop": True})
    done = load.finish()

    assert 0 == done["sent"] == len(load.rows().rows)
    assert load.rows().closed_ns > 0


def test_a_second_signal_ends_it_at_once(serve: Serve, start_load: StartLoad, job: Job) -> None:
    """Waiting for what is in flight can be cut short; what was in flight stays an open row."""
    server = serve(lambda _: Reply(b"", then="hold"))
    load = start_load({**job, "port": server.port, "duration_s": 0.01, "request_timeout_s": 60.0})
    load.go()
    server.wait_for_requests(1)
    load.process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    assert load.process.poll() is None
    load.process.send_signal(signal.SIGTERM)

    assert load.process.wait(1) == 128 + signal.SIGTERM
    assert load.rows().rows["outcome"].tolist() == [Outcome.OPEN]


@pytest.mark.parametrize("when", ["before ready", "before the start", "during the load", "while waiting for answers"])
def test_the_end_of_stdin_ends_the_process_at_once(serve: Serve, start_load: StartLoad, job: Job, when: str) -> None:
    """A load process never outlives its session; its account stays open, for it did not end in good order."""
    server = serve(lambda _: Reply(b"", then="hold"))
    duration_s = 0.01 if when == "while waiting for answers" else 600.0
    load = start_load({**job, "port": server.port, "duration_s": duration_s, "request_timeout_s": 60.0})
    if when == "before the start":
        load.read()
    elif when != "before ready":
        load.go()
        server.wait_for_requests(1)
    assert load.process.stdin is not None
    load.process.stdin.close()

    assert load.process.wait(10) == 1  # It may still be importing Locust.
    assert "the session is gone: stdin ended" in load.stderr()
    assert load.rows().closed_ns == 0


def test_a_wrong_job_is_refused_in_one_line(start_load: StartLoad, job: Job) -> None:
    """Status 2, nothing on stdout, one line on stderr that names key, value and what is allowed; no rows file is made."""
    load = start_load({**job, "rate_per_s": -1})

    assert load.process.wait(5) == 2
    assert load.process.stdout is not None
    assert load.process.stdout.read() == b""
    assert load.stderr() == "error: job.rate_per_s: given -1; allowed: greater than 0\n"
    assert not load.rows_path.exists()


def test_an_account_is_never_overwritten(start_load: StartLoad, job: Job) -> None:
    """A rows file that exists is refused as a mistake in the job."""
    Path(job["rows"]).write_bytes(b"an older account")
    load = start_load(job)

    assert load.process.wait(5) == 2
    assert "job.rows: given" in load.stderr()
    assert Path(job["rows"]).read_bytes() == b"an older account"


def test_settings_of_locust_and_gevent_in_the_surroundings_have_no_influence(
    serve: Serve, start_load: StartLoad, job: Job, tmp_path: Path
) -> None:
    """Neither variables nor configuration files, in the home or the working directory, change what is sent or said."""
    (tmp_path / "locust.conf").write_text("users = 50\nhost = http://127.0.0.1:9\n")
    (tmp_path / ".locust.conf").write_text("users = 50\nrun-time = 1s\n")
    (tmp_path / "pyproject.toml").write_text("[tool.locust]\nusers = 50\n")
    env = {
        **os.environ,
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "LOCUST_SKIP_MONKEY_PATCH": "1",
        "LOCUST_PLAYWRIGHT": "1",  # makes `import locust` print to stdout
        "LOCUST_USERS": "50",
        "LOCUST_HOST": "http://127.0.0.1:9",
        "GEVENT_RESOLVER": "nonsense",
    }
    server = serve(lambda _: Reply())
    load = start_load({**job, "port": server.port}, cwd=tmp_path, env=env)
    load.go()
    done = load.finish()

    assert 10 == done["sent"] == len(server.requests)
    assert {int(Outcome.ACK)} == set(load.rows().rows["outcome"].tolist())


def test_an_empty_part_of_a_schedule_is_a_run_like_any_other(start_load: StartLoad, job: Job) -> None:
    """The second of two processes has nothing to send when there is one arrival."""
    load = start_load({**job, "duration_s": 0.001, "process": 1, "processes": 2})
    load.go()
    done = load.finish()

    assert (done["planned"], done["sent"], done["shed"]) == (0, 0, 0)


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_pause_at_the_end_belongs_to_the_load(serve: Serve, start_load: StartLoad, job: Job, *, is_stopped: bool) -> None:
    """The process is done when the pause is over, or at once when it is told to stop in it."""
    server = serve(lambda _: Reply())
    staged = {key: value for key, value in job.items() if key != "rate_per_s"}
    duration_s = 60.1 if is_stopped else 0.6
    stages = f"20 for 100ms, pause for {'60s' if is_stopped else '500ms'}"
    load = start_load({**staged, "port": server.port, "stages": stages, "duration_s": duration_s})
    t0_ns = load.go()
    server.wait_for_requests(2)
    if is_stopped:
        load.send({"stop": True})
    done = load.finish()

    assert (done["planned"], done["sent"]) == (2, 2)
    assert is_stopped or time.monotonic_ns() >= t0_ns + 600_000_000


def test_a_line_that_is_no_command_is_named_and_the_load_goes_on(serve: Serve, start_load: StartLoad, job: Job) -> None:
    """Once it runs, a mistake of the session is a line on stderr, not the end of a measurement."""
    server = serve(lambda _: Reply())
    load = start_load({**job, "port": server.port, "duration_s": 0.3})
    load.go()
    load.send({"faster": True})
    done = load.finish()

    assert done["sent"] == 30
    assert "command.faster: given, and no such key is known" in load.stderr()


def test_a_request_that_ended_for_no_known_reason_is_a_row_and_a_line_on_stderr(
    serve: Serve, start_load: StartLoad, job: Job
) -> None:
    """Nothing disappears: each is IND with OTHER; the first twenty are named, the rest counted, so that no pipe fills up."""
    server = serve(lambda _: Reply(b"SSH-2.0 hello\r\n\r\n", then="close"))
    load = start_load({**job, "port": server.port, "duration_s": 0.3})
    load.go()
    load.finish()
    rows = load.rows().rows
    lines = load.stderr().splitlines()

    assert {(row["outcome"], row["error"]) for row in rows} == {(Outcome.IND, RequestError.OTHER)}
    assert (len(rows), len(lines)) == (30, 21)
    assert lines[0].startswith("error: POST /register, operation 00003039000000")
    assert lines[-1] == "error: 10 more requests ended for reasons like these"


def test_the_whole_output_is_lines_of_json(serve: Serve, start_load: StartLoad, job: Job) -> None:
    """Two lines, ready and done."""
    server = serve(lambda _: Reply())
    load = start_load({**job, "port": server.port})
    load.send({"t0_ns": time.monotonic_ns()})
    assert load.process.stdout is not None
    lines = [json.loads(line) for line in (load.process.stdout.readline(), load.process.stdout.readline())]

    assert load.process.wait(5) == 0
    assert [next(iter(line)) for line in lines] == ["ready", "done"]
    assert load.process.stdout.read() == b""
