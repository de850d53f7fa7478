"""Locust's own sockets, messages and runners, with what Locust leaves out: who may take part, and that nobody else can listen.

The key of the encryption (CURVE, of ZeroMQ) is made from the run's join token, and no half of it is ever sent: who does not have
the token can't complete the handshake, in either role. Needs a process patched for gevent.
"""

from __future__ import annotations

import hashlib
import logging
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import zmq
import zmq.green
import zmq.utils.z85
from locust import runners
from locust.rpc import zmqrpc

__all__ = ["CHUNK_BYTES", "PREFIX", "PROTOCOL", "BindError", "resolve_one", "say_goodbye", "use_token"]

PROTOCOL = 1
"""Raised whenever what the two sides say to each other changes."""

PREFIX = "afterload_"
"""Of our messages' names: Locust has some of its own, such as "stop"."""

CHUNK_BYTES = 1 << 20
"""Of a row file, in one message."""

REPORT_S = 0.5
GOODBYE_MS = 2000
ASK_AGAIN_S = 1.0
MOST_RETRIES = 10_000
"""How long is waited for the one that measures is the caller's to say."""

LOST_AFTER_S = 8
"""Without a heart beat, which comes every second, a load machine is lost; and so is, to it, the one that measures."""


class BindError(Exception):
    """The address cannot be listened on."""


def use_token(token: str, watch: Callable[[Any], None] = lambda monitor: None) -> None:
    """From now on Locust's runners of this process talk only to those that have the same token, and notice sooner who is gone.

    `watch` is given the monitor of the socket, which says when connections are made and broken.
    """
    secret = zmq.utils.z85.encode(hashlib.sha256(b"afterload join\0" + token.encode()).digest())
    public = zmq.curve_public(secret)

    class Server(zmqrpc.Server):
        """The one that listens."""

        def __init__(self, host: str, port: int) -> None:
            zmqrpc.BaseSocket.__init__(self, zmq.ROUTER, ipv4_only=":" not in host)  # type: ignore[no-untyped-call]
            self.socket.curve_server = True
            self.socket.curve_secretkey = secret
            watch(self.socket.get_monitor_socket())
            shown = f"[{host}]" if ":" in host else host
            try:
                # Locust's own takes a random port for 0, from a range; the system knows better which one is free.
                self.socket.bind(f"tcp://{shown}:{port or '*'}")
            except zmq.ZMQError as error:
                raise BindError(f"cannot listen on {shown}:{port}: {error.strerror}") from error
            endpoint: Any = self.socket.getsockopt(zmq.LAST_ENDPOINT)
            self.port = int(endpoint.decode().rstrip("\0").rpartition(":")[2])

    class Client(zmqrpc.Client):
        """The one that joins."""

        def __init__(self, host: str, port: int, identity: str) -> None:
            zmqrpc.BaseSocket.__init__(self, zmq.DEALER, ipv4_only=":" not in host)  # type: ignore[no-untyped-call]
            self.socket.setsockopt(zmq.IDENTITY, identity.encode())
            self.socket.curve_serverkey = public
            self.socket.curve_publickey, self.socket.curve_secretkey = zmq.curve_keypair()
            watch(self.socket.get_monitor_socket())
            self.socket.connect(f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}")

    module: Any = runners
    module.rpc = SimpleNamespace(Server=Server, Client=Client)
    module.HEARTBEAT_LIVENESS = LOST_AFTER_S
    module.MASTER_HEARTBEAT_TIMEOUT = LOST_AFTER_S
    module.WORKER_REPORT_INTERVAL = REPORT_S
    module.CONNECT_TIMEOUT = ASK_AGAIN_S
    module.CONNECT_RETRY_COUNT = MOST_RETRIES
    # Its runners say at this level what is told here in other words.
    logging.getLogger("locust.runners").setLevel(logging.ERROR)


def say_goodbye(connection: zmqrpc.BaseSocket) -> None:
    """Closes it once what was sent has left: ZeroMQ sends in a thread of its own, which would end with the process."""
    context = connection.socket.context
    # Blocks, for this long at most.
    context.destroy(linger=GOODBYE_MS)


def resolve_one(host: str) -> str:
    """The first address of `host`, because ZeroMQ binds to addresses only. Raises OSError."""
    return str(socket.getaddrinfo(host, None, 0, socket.SOCK_STREAM)[0][4][0])
