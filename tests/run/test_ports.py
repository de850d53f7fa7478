"""Where a server under test listens: on a port that is still free when it does, a second later and after each restart."""

from __future__ import annotations

import multiprocessing
import socket

import pytest

from harness.ports import HOST, ephemeral_ports, free_port, is_free


def test_the_kernel_gives_it_to_nobody_by_chance() -> None:
    low, high = ephemeral_ports()
    found = [free_port() for _ in range(50)]
    assert [port for port in found if low <= port <= high] == []
    assert len(set(found)) == 50


def test_those_who_look_at_the_same_time_find_others() -> None:
    """None of them listens yet."""
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        found = pool.map(_three, range(8), chunksize=1)
    ports = [port for each in found for port in each]
    assert len(set(ports)) == len(ports)


def _three(_: int) -> list[int]:
    return [free_port() for _ in range(3)]


def test_one_that_is_listened_on_is_left_out_and_none_is_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.ports._given", set())
    first = free_port()
    monkeypatch.setattr("harness.ports._given", set())
    with socket.create_server((HOST, first)):
        assert not is_free(first)
        found = [free_port() for _ in range(3)]
    assert len({first, *found}) == 4
    monkeypatch.setattr("harness.ports._given", set())
    assert free_port() == first


def test_when_all_have_been_given_away_one_that_is_free_is_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.ports._given", set())
    ports = [free_port(ephemeral=(15_000, 65_000)) for _ in range(535)]
    assert free_port(ephemeral=(15_000, 65_000)) in ports
    assert len(set(ports)) > 500  # all that nobody listens on


def test_containers_on_one_network_look_at_different_ports_although_their_processes_have_the_same_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []
    for number in range(4_026_531_836, 4_026_531_846):
        monkeypatch.setattr("harness.ports._namespace", lambda number=number: number)
        monkeypatch.setattr("harness.ports._given", set())
        found.append(free_port())
    assert len(set(found)) == 10


@pytest.mark.parametrize(
    ("ephemeral", "allowed"),
    [
        ((32_768, 60_999), range(61_000, 65_536)),
        ((15_000, 65_000), range(65_001, 65_536)),
        ((15_000, 65_535), range(10_000, 15_000)),
        ((1_024, 65_535), range(1, 65_536)),  # there is no other: any that is free
        ((10_100, 65_300), range(1, 65_536)),
    ],
)
def test_it_is_a_port_of_what_is_left(ephemeral: tuple[int, int], allowed: range) -> None:
    assert free_port(ephemeral=ephemeral) in allowed
