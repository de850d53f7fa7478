"""What the load generator can do on this machine: measured against a server that does nothing, kept, held against plans."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import calibration, ceilings
from harness.calibration import Calibration, CalibrationBusy, calibrate, keep, measuring, recorded
from harness.ceilings import known_ceiling
from harness.errors import UsageError
from harness.load import null

KNOWN = Calibration(
    processes=1,
    answered_per_s=9000.0,
    cpu_share=0.9,
    lag_p50_ms=0.1,
    lag_p99_ms=0.4,
    at_unix_s=1_795_000_000,
    took_s=3.0,
    cores=2,
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where calibrations are kept in this test: nothing is there yet."""
    path = tmp_path / "cache" / "calibration.json"
    monkeypatch.setenv(calibration.VARIABLE, str(path))
    return path


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever calibrates in this test fails it."""

    def calibrated(*_: object) -> Calibration:
        pytest.fail("it calibrates")

    monkeypatch.setattr(ceilings, "calibrate", calibrated)


def test_the_generator_is_measured_once_and_then_known(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A real calibration: some seconds, figures that can be, a record that only this machine takes, and nothing left running."""
    said: list[str] = []

    first = known_ceiling(10.0**9, 1, insist=True, say=said.append)

    assert first is not None
    assert first == recorded(1) == known_ceiling(first.ceiling_per_s / 2, 1, insist=False, say=pytest.fail)
    assert recorded(2) is None
    assert 300 < first.answered_per_s < 200_000
    assert 0 < first.cpu_share <= 1
    assert first.ceiling_per_s >= first.answered_per_s
    assert 0 < first.lag_p50_ms <= first.lag_p99_ms
    assert first.took_s < 30
    assert said[0] == "calibrating the load generator on this machine (about 3 s)"
    assert list(place.parent.glob(".calibration-*")) == []
    kept = json.loads(place.read_text())
    place.write_text(json.dumps({**kept, "machine": "another"}))
    assert recorded(1) is None, "another machine's figures are no figures"
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"machine": "x"}', '{"calibrations": {"1": {}}}'])
def test_a_record_that_cannot_be_read_is_none(place: Path, text: str) -> None:
    """It can be measured again."""
    place.parent.mkdir()
    place.write_text(text)

    assert recorded(1) is None
    keep(KNOWN)
    assert recorded(1) == KNOWN


def test_several_numbers_of_processes_are_kept_beside_each_other(place: Path) -> None:
    """Two processes are not twice one."""
    keep(KNOWN)
    keep(dataclasses.replace(KNOWN, processes=2, answered_per_s=15_000.0))

    assert [recorded(n) and recorded(n).answered_per_s for n in (1, 2, 3)] == [9000.0, 15_000.0, None]


def test_the_ceiling_is_that_of_a_whole_core_where_there_is_one_for_each(place: Path) -> None:
    """9,000 answers in 0.9 s of processor time are 10,000 a second; with as many processes as cores it is what came out."""
    assert KNOWN.ceiling_per_s == 10_000
    assert dataclasses.replace(KNOWN, processes=2).ceiling_per_s == 9000
    assert not KNOWN.is_disturbed
    assert dataclasses.replace(KNOWN, cpu_share=0.4).is_disturbed


@pytest.mark.usefixtures("never")
def test_a_rate_that_any_machine_can_send_calibrates_nothing(place: Path) -> None:
    """Neither do users, whose rate nobody knows; what is known already is given all the same."""
    assert known_ceiling(500.0, 1, insist=False, say=pytest.fail) is None
    assert known_ceiling(None, 1, insist=False, say=pytest.fail) is None
    keep(KNOWN)
    assert known_ceiling(500.0, 1, insist=False, say=pytest.fail) == KNOWN
    assert known_ceiling(7000.0, 1, insist=False, say=pytest.fail) == KNOWN


@pytest.mark.usefixtures("never", "place")
def test_much_is_told_and_too_much_is_refused_before_a_run_begins() -> None:
    """Above 70 % of the ceiling a note, above all of it an error with the ways out; whoever insists gets the note."""
    keep(KNOWN)
    said: list[str] = []

    assert known_ceiling(7100.0, 1, insist=False, say=said.append) == KNOWN
    assert said == [
        "note: 7,100 requests/s are 71 % of what the load generator can send here (10,000/s): it may be late, and what it cannot"
        " send in time is shed"
    ]
    with pytest.raises(UsageError, match=r"10,100 requests/s are asked for, and the load generator can send at most") as refused:
        known_ceiling(10_100.0, 1, insist=False, say=said.append)
    assert "send from 2 processes (--processes)" in str(refused.value.hint)
    assert "--above-ceiling" in str(refused.value.hint)
    assert known_ceiling(10_100.0, 1, insist=True, say=said.append) == KNOWN
    assert "101 %" in said[-1]


@pytest.mark.usefixtures("place")
def test_nobody_calibrates_while_somebody_measures() -> None:
    """A run goes on without a calibration then, and says so; `afterload doctor --calibrate` fails with the reason."""
    with measuring(pytest.fail):
        with measuring(pytest.fail):  # Two runs may well go on beside each other.
            pass
        with pytest.raises(CalibrationBusy, match="another run measures on this machine"):
            calibrate(1)
        said: list[str] = []
        assert known_ceiling(10.0**9, 1, insist=False, say=said.append) is None
        assert "another run measures on this machine" in said[-1]


def test_a_run_waits_for_a_calibration_to_end_but_not_for_ever(place: Path) -> None:
    """Somebody else's, which holds the lock."""
    place.parent.mkdir()
    said: list[str] = []
    with place.with_suffix(".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with measuring(said.append, patience_s=0.3):
            assert said == ["waiting for a calibration on this machine to end"]


def test_a_place_that_cannot_be_written_is_no_reason_not_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file where the directory should be; permissions would not stop root. The calibration serves this run and is not kept."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(calibration.VARIABLE, str(tmp_path / "file" / "calibration.json"))
    monkeypatch.setattr(ceilings, "calibrate", lambda _: KNOWN)
    said: list[str] = []

    with measuring(said.append):
        assert known_ceiling(600.0, 1, insist=False, say=said.append) == KNOWN
    assert said[-1].startswith("note: the calibration is not kept: ")


@pytest.fixture
def asked() -> Callable[[bytes, int], bytes]:
    """Sends bytes to a null server in pieces of that size, and gives what it answered."""

    def ask(data: bytes, size: int) -> bytes:
        command = [sys.executable, "-I", "-S", null.__file__]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            port = json.loads(server.stdout.readline())["port"]
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for start in range(0, len(data), size):
                    connection.sendall(data[start : start + size])
                connection.shutdown(socket.SHUT_WR)
                answers = b"".join(iter(lambda: connection.recv(65_536), b""))
            server.stdin.close()
            assert server.wait(5) == 0
        return answers

    return ask


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_null_server_answers_each_request_once_however_it_is_cut(asked: Callable[[bytes, int], bytes], size: int) -> None:
    """Three requests, two with bodies, in pieces: three answers; and it ends with its standard input."""
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"

    assert asked(request + b"GET / HTTP/1.1\r\n\r\n" + request, size) == null.ANSWER * 3
