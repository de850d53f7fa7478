"""Ports for servers under test: one that is free now, and will be when the server listens on it, and listens on it again."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

from harness.errors import UsageError

__all__ = ["HOST", "ephemeral_ports", "free_port", "is_free", "require_free"]

HOST = "127.0.0.1"

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL = (32_768, 60_999)
_LOWEST, _HIGHEST = 10_000, 65_535
_ENOUGH = 500
_STRIDE = 61  # prime

_NAMESPACE = Path("/proc/self/ns/pid")

_given: set[int] = set()


def free_port(host: str = HOST, ephemeral: tuple[int, int] | None = None) -> int:
    """A port of `host`, an address of this machine, that nobody uses now, nor is given by chance.

    A server listens on it a second later, and again after each fault. In that time the kernel may give a port of its `ephemeral`
    range (the lowest and the highest; by default as it is set) to anybody who asks for any port, and to connections. So it is
    one that somebody must ask for by number; which one is told by the number of this process, so that others who look for one
    at the same time, which cannot see what is not listened on yet, look at others. In containers that share the host's network
    many have the same number: there it is told by what they are numbered in as well.
    """
    low, high = ephemeral or ephemeral_ports()
    # Those above are used by hardly anybody; below there are databases, and the nodes of Kubernetes.
    ports = range(high + 1, _HIGHEST + 1)
    if len(ports) < _ENOUGH:
        ports = range(_LOWEST, low)
    if len(ports) >= _ENOUGH:
        first = os.getpid() * _STRIDE + random.Random(_namespace()).randrange(len(ports))
        in_turn = [ports[(first + place) % len(ports)] for place in range(len(ports))]
        # Those that this process has given away come last: somebody may be about to listen on them.
        for port in sorted(in_turn, key=_given.__contains__):
            if is_free(port, host):
                _given.add(port)
                return port
    with socket.socket() as probe:
        probe.bind((host, 0))
        found: int = probe.getsockname()[1]
        return found


def _namespace() -> int:
    """Of the numbers of processes; 0: the system does not say."""
    try:
        return _NAMESPACE.stat().st_ino
    except OSError:
        return 0


def require_free(port: int, host: str = HOST) -> None:
    """Raises UsageError if `port` is taken; 0 is always free."""
    if port and not is_free(port, host):
        raise UsageError(f"port {port} on {host} is in use", "choose another one with --port, or leave it out to take a free one")


def is_free(port: int, host: str = HOST) -> bool:
    """Whether a server could listen on it now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError:
            return False
    return True


def ephemeral_ports() -> tuple[int, int]:
    """The lowest and the highest port that the kernel gives away, as it is set; where nobody says, as it usually is."""
    try:
        low, high = map(int, _RANGE.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return _USUAL
    return low, high
