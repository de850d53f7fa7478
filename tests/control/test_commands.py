"""Commands as people and programs write them, and the file that they go through."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.control import (
    Command,
    FaultNow,
    Mark,
    SetLength,
    SetPool,
    SetRate,
    SetTasks,
    SetUsers,
    Stop,
    command_of,
    parse_command,
    send,
)
from harness.control.inbox import Inbox
from harness.errors import UsageError

COMMANDS: dict[str, Command] = {
    "rate=200": SetRate(200),
    "rate = 1.5k": SetRate(1500),
    "rate=0.5/s": SetRate(0.5),
    "users=1_000": SetUsers(1000),
    "pool=8": SetPool(8),
    "tasks=async": SetTasks("async"),
    "for=1.5m": SetLength(90),
    "fault=kill": FaultNow("kill"),
    "fault=squeeze=2 + 3s": FaultNow("squeeze=2 + 3s"),
    "fault=restart": FaultNow("restart"),
    "mark=a=b": Mark("a=b"),
    "mark=\x1b[2J two\nlines": Mark("[2J two lines"),
    "stop": Stop(),
}


@pytest.mark.parametrize("text", COMMANDS)
def test_a_command_is_what_was_written_and_survives_json(text: str) -> None:
    command = parse_command(text)

    assert command == COMMANDS[text]
    assert command_of(command.do, json.loads(json.dumps(command.value))) == command
    if not isinstance(command, Mark):
        assert parse_command(str(command)) == command


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("speed=3", "nothing that can be asked of a run"),
        ("rat=3", "did you mean 'rate'"),
        ("rate=", "rate needs a value"),
        ("rate=-1", "a rate is a number of requests per second"),
        ("rate=1e9k", "a rate is a number of requests per second"),
        ("rate=200k", "a rate is a number from 0 to 100,000; given 200000.0"),
        ("users=2.5", "a whole number is needed"),
        ("pool=0", "the number of threads is a whole number from 1 to 10,000; given 0"),
        ("tasks=fast", "tasks are one of sync, async, blocking, inline; given 'fast'"),
        ("for=60", "is no duration"),
        ("for=0s", "longer than 0 s"),
        ("fault=kill@3s", "it happens now"),
        ("fault=stop", "stop lasts: say how long"),
        ("fault=kil", "did you mean 'kill'"),
        ("stop=1", "stop takes no value"),
        ("mark=\x07", "a mark is a text of 1 to 200 characters"),
    ],
)
def test_what_cannot_be_asked_is_told_with_what_is_allowed(text: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_command(text)

    assert why in str(caught.value)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[tuple[Path, Inbox]]:
    """A run directory that somebody holds, and what is asked there."""
    (tmp_path / "events.jsonl").touch()
    inbox = Inbox(tmp_path / "commands.jsonl")
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield tmp_path, inbox
    os.close(descriptor)
    inbox.close()


def test_what_is_sent_is_received_once_with_its_id(session: tuple[Path, Inbox]) -> None:
    path, inbox = session
    numbers = [send(path, SetRate(3.0), "me"), send(path, Stop())]
    received = inbox.take()

    assert [(each.id, each.command, each.who) for each in received] == [
        (numbers[0], SetRate(3.0), "me"),
        (numbers[1], Stop(), "afterload"),
    ]
    assert inbox.take() == []


@given(
    lines=st.lists(
        st.one_of(
            st.binary(max_size=300),
            st.text(max_size=80).map(lambda text: json.dumps({"id": "x", "do": "mark", "value": text}).encode()),
        )
    )
)
def test_no_line_stops_a_session_and_none_is_shown_as_it_is(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    """Whatever bytes are there: each line is a command, or told as none, in characters that any terminal and file can have."""
    path = tmp_path_factory.mktemp("any") / "commands.jsonl"
    inbox = Inbox(path)
    path.write_bytes(b"\n".join([*lines, b""]))
    for each in inbox.take():
        assert (each.command is None) == bool(each.why_not)
        shown = f"{each.command or each.do}{each.who}{each.value}"
        assert shown.isprintable()
        shown.encode()
    inbox.close()


def test_a_line_of_another_version_and_one_that_came_before_are_refused(session: tuple[Path, Inbox]) -> None:
    path, inbox = session
    line = b'{"v": 1, "id": "one", "do": "rate", "value": 5}\n'
    with (path / "commands.jsonl").open("ab", buffering=0) as file:
        file.write(line + line + line.replace(b'"v": 1, "id": "one"', b'"v": 2, "id": "two"'))
    first, second, third = inbox.take()

    assert (first.id, first.command) == ("one", SetRate(5.0))
    assert (second.id, second.command, second.why_not) == ("", None, "a command with this id was given before")
    assert (third.id, third.command, third.why_not) == ("two", None, "it is of version 2; this session knows version 1")


def test_half_a_line_is_waited_for_and_a_dead_writer_spoils_no_other_line(session: tuple[Path, Inbox]) -> None:
    path, inbox = session
    with (path / "commands.jsonl").open("ab", buffering=0) as file:
        file.write(b'{"id": "slow", "do": "st')
        assert inbox.take() == []
        file.write(b'op"}\n{"id": "dead", "do"')
    number = send(path, SetPool(2))

    assert [(each.id, each.command) for each in inbox.take()] == [("slow", Stop()), ("", None), (number, SetPool(2))]


def test_what_somebody_puts_in_the_place_of_the_file_is_neither_read_nor_written(
    session: tuple[Path, Inbox], tmp_path: Path
) -> None:
    """In a directory that others may write to: another file, a link, a second name of somebody's file, a pipe."""
    path, inbox = session
    file, mine = path / "commands.jsonl", tmp_path / "mine"
    mine.write_text("mine")
    file.rename(path / "old")
    file.write_text('{"id": "x", "do": "stop"}\n')
    assert inbox.take() == []
    for replace in (lambda: file.symlink_to(mine), lambda: file.hardlink_to(mine), lambda: os.mkfifo(file)):
        file.unlink()
        replace()
        with pytest.raises(UsageError, match=r"cannot write|not what a session makes"):
            send(path, Stop())
    assert mine.read_text() == "mine"
    with pytest.raises(FileExistsError):
        Inbox(file)


def test_nobody_is_asked_where_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no run directory"):
        send(tmp_path / "none", Stop())
    with pytest.raises(UsageError, match="is no run directory"):
        send(tmp_path, Stop())
    (tmp_path / "events.jsonl").touch()
    with pytest.raises(UsageError, match="is over"):
        send(tmp_path, Stop())
