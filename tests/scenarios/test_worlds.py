"""The worlds, with real sockets and files and without any server under test."""

from __future__ import annotations

import os
import smtplib
import socket
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email.message import EmailMessage
from pathlib import Path

import numpy as np
import pytest

from harness.rows import Kind, RowWriter, read_rows
from harness.rows.layout import ROW_TYPES
from scenarios import CannotStart, EffectRows, Rows, Scenario, Settings
from scenarios.registry import find
from scenarios.rows import _FIELDS
from scenarios.world import access_log
from scenarios.world.logfile import append_line
from tests.scenarios.conftest import Started, started


def mail(op: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["X-Op-Id"] = "a@example.org", "b@example.org", op
    message.set_content("Hello.\n")
    return message


@contextmanager
def smtp(world: Started) -> Iterator[smtplib.SMTP]:
    host, port = world.addresses["smtp"].split(":")
    with smtplib.SMTP(host, int(port), local_hostname="localhost", timeout=10) as connection:
        yield connection


def test_mails_are_refused_at_the_rates_that_were_set_and_only_accepted_ones_are_effects(tmp_path: Path) -> None:
    """The 4xx ones are accepted at some later attempt; the 5xx ones never."""
    refused: dict[int, set[str]] = {451: set(), 554: set()}
    with started(find("email"), tmp_path, {"delay": "0ms", "fail": "40%", "reject": "20%"}) as world:
        for number in range(1, 41):
            op = f"{number:016x}"
            for _ in range(20):
                try:
                    with smtp(world) as connection:
                        connection.send_message(mail(op))
                    break
                except smtplib.SMTPDataError as error:
                    refused[error.smtp_code].add(op)
                    if error.smtp_code == 554:
                        break

    settings = world.settings
    ops = {f"{number:016x}" for number in range(1, 41)}
    rejected = {op for op in ops if settings.happens("reject", op)}
    assert refused[554] == rejected
    assert refused[451] == {op for op in ops - rejected if settings.happens("fail", op)}
    assert {f"{op:016x}" for op in world.rows.effects["op"].tolist()} == ops - rejected
    assert len(world.rows.effects) == len(ops - rejected)


def test_one_connection_too_many_is_answered_421_and_a_closed_one_makes_room(tmp_path: Path) -> None:
    with started(find("email"), tmp_path, {"connections": "2"}) as world:
        host, port = world.addresses["smtp"].split(":")
        with smtp(world):
            with smtp(world), pytest.raises(smtplib.SMTPConnectError) as caught:
                smtplib.SMTP(host, int(port), local_hostname="localhost", timeout=10)
            assert caught.value.smtp_code == 421
            end = time.monotonic() + 10
            while True:
                try:
                    with smtp(world):
                        break
                except smtplib.SMTPConnectError:
                    assert time.monotonic() < end, "a closed connection must make room"


def test_a_connection_that_says_nothing_or_rubbish_harms_nobody(tmp_path: Path) -> None:
    with started(find("email"), tmp_path) as world:
        host, port = world.addresses["smtp"].split(":")
        with socket.create_connection((host, int(port)), 5), socket.create_connection((host, int(port)), 5) as rubbish:
            rubbish.sendall(os.urandom(2000) + b"\r\nDATA\r\n")
            with smtp(world) as connection:
                connection.send_message(mail("0000000000000001"))
                with pytest.raises(smtplib.SMTPDataError):
                    connection.send_message(mail("no operation"))

    assert world.rows.effects["op"].tolist() == [1]


def test_each_line_of_a_log_is_an_effect_and_half_a_line_is_none(tmp_path: Path) -> None:
    with started(find("flaky"), tmp_path) as world:
        path = world.addresses["done"]
        for number in range(1, 501):
            append_line(path, f"{number:016x}", "done")
        with Path(path).open("ab") as file:
            file.write(b"00000000000001f5 half a li")

    assert world.rows.effects["op"].tolist() == list(range(1, 501))


def test_a_row_that_is_committed_is_an_effect_and_one_that_is_rolled_back_is_none(tmp_path: Path) -> None:
    with started(find("analytics"), tmp_path) as world:
        for number in range(1, 6):
            with closing(sqlite3.connect(world.addresses["sqlite"], isolation_level=None)) as db:
                db.execute("BEGIN IMMEDIATE")
                db.execute("INSERT INTO access_log (op, user_id, endpoint, at) VALUES (?, 1, '/', 0)", (f"{number:016x}",))
                db.execute(
                    "INSERT INTO access_counts VALUES ('/', 1) ON CONFLICT (endpoint) DO UPDATE SET n = access_counts.n + 1"
                )
                db.execute("ROLLBACK" if number == 3 else "COMMIT")

    assert world.rows.effects["op"].tolist() == [1, 2, 4, 5]
    assert access_log.left_in(world.folder) == (4, 4)
    assert not find("analytics").check(world.rows, world.settings, world.folder).problems


def test_a_database_that_holds_something_else_than_was_seen_is_a_problem(tmp_path: Path) -> None:
    """The check looks for itself; it does not believe the world's rows."""
    with started(find("analytics"), tmp_path) as world:
        pass
    with sqlite3.connect(world.folder / "access.sqlite") as db:
        db.execute("INSERT INTO access_log (op, user_id, endpoint, at) VALUES ('1', 1, '/', 0)")
    db.close()

    problems = find("analytics").check(world.rows, world.settings, world.folder).problems
    assert "the database holds 1 accesses, and 0 were seen to arrive" in problems
    assert any("has counted 0" in problem for problem in problems)


def test_a_mail_of_an_action_is_the_effect_of_its_third_task(tmp_path: Path) -> None:
    with started(find("action"), tmp_path, {"delay": "0ms"}) as world, smtp(world) as connection:
        assert set(world.addresses) == {"activity", "sqlite", "smtp"}
        connection.send_message(mail("0000000000000001"))
        append_line(world.addresses["activity"], "0000000000000001", "x")

    assert sorted(world.rows.effects["index"].tolist()) == [0, 2]


@pytest.mark.parametrize(
    ("is_installed", "expected"),
    [(True, "cannot use the database postgresql://127.0.0.1:1/x"), (False, "pip install 'afterload[postgres]'")],
)
def test_a_database_that_cannot_be_used_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_installed: bool, expected: str
) -> None:
    if not is_installed:
        monkeypatch.setitem(sys.modules, "psycopg", None)
    rows = EffectRows(tmp_path / "effects-1.rows", "x")
    with pytest.raises(CannotStart) as caught:
        access_log.start_access_log_in_postgres(rows, tmp_path, "postgresql://127.0.0.1:1/x")
    rows.close()
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_rows_that_a_check_reads_are_those_that_the_harness_reads(tmp_path: Path) -> None:
    """Two readers of one format: the fields, the published rows and the names must be the same."""
    # What else ran on the machine is no witness of a scenario's.
    assert {kind.name.lower() for kind in Kind} - set(_FIELDS) == {"machine"}
    for name in _FIELDS:
        kind = Kind[name.upper()]
        assert np.dtype(_FIELDS[name]) == ROW_TYPES[kind]
    for process, routes in enumerate((("GET /a", "POST /b"), ("POST /b",))):
        with RowWriter(tmp_path / f"requests-{process}.rows", Kind.REQUESTS) as writer:
            for number in range(1, 6):
                route = writer.name(routes[number % len(routes)])
                writer.append((0 if number == 3 else number + 10 * process, route << 40, number))
    rows = Rows(tmp_path)
    expected = np.concatenate([read_rows(tmp_path / f"requests-{process}.rows").rows for process in range(2)])

    assert rows.requests.tobytes() == expected.tobytes()
    assert sorted(rows.requests_named("POST /b")["op"].tolist()) == [1, 5, 11, 12, 14, 15]
    assert rows.requests_named("GET /c").tolist() == []
    assert rows.tasks.tolist() == []


def test_a_world_is_made_anew_for_each_run(tmp_path: Path) -> None:
    """An effect of an earlier run must not be there again."""

    def again(scenario: Scenario, settings: Settings) -> None:
        with started(scenario, tmp_path):
            pass

    again(find("flaky"), find("flaky").resolve({}))
    with pytest.raises(FileExistsError):
        again(find("flaky"), find("flaky").resolve({}))
