"""Where load may go: to this machine's loopback, and to nothing else that was not named and confirmed as one's own."""

from __future__ import annotations

import hashlib
import ipaddress
import socket
from collections.abc import Collection
from pathlib import Path

from harness.errors import UsageError

__all__ = ["CONFIRM", "here", "is_loopback", "locustfile_sha256", "require_address_of_this_machine", "require_own", "whose_clock"]

CONFIRM = "--yes-this-target-is-mine"


def is_loopback(host: str) -> bool:
    """True if load to `host` stays on this machine: an address of its loopback, or the name localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def require_own(host: str, confirmed: Collection[str]) -> None:
    """Raises UsageError unless `host` is loopback, or named and confirmed as the user's own."""
    if is_loopback(host) or host in confirmed:
        return
    given = f"; confirmed was {', '.join(confirmed)}" if confirmed else ""
    raise UsageError(
        f"load would go to {host}, which is not loopback and was not confirmed as yours{given}",
        f"load can bring a server down: if it is yours, say so with {CONFIRM} {host}",
    )


def require_address_of_this_machine(host: str) -> None:
    """Raises UsageError if no server could listen on `host` here."""
    with socket.socket() as probe:
        try:
            probe.bind((host, 0))
        except OSError as error:
            raise UsageError(
                f"--host {host} is no address of this machine ({error.strerror}); afterload starts the server itself, and here",
                "name one of its addresses, by which the load machines reach it",
            ) from None


def here() -> str:
    """Equal for two processes if they are on the same machine and reach each other by loopback."""
    return f"{_boot_id()} {Path('/proc/self/ns/net').readlink()}"


def whose_clock() -> str:
    """Equal for two processes if CLOCK_MONOTONIC is one and the same for both."""
    # A kernel without time namespaces has one clock.
    namespace = Path("/proc/self/ns/time")
    return f"{_boot_id()} {namespace.readlink() if namespace.is_symlink() else ''}"


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def locustfile_sha256(file: str | Path | None) -> str | None:
    """What a locustfile is told by. Raises OSError."""
    return None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()
