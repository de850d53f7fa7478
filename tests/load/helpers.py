"""A raw server that misbehaves on request, and the load process itself, driven as the session drives it."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.rows import RowFile, read_rows

ROOT = Path(__file__).resolve().parents[2]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server does with one request."""

    data: bytes = OK
    then: Literal["keep", "close", "reset", "hold"] = "keep"  # hold: say nothing more until the server ends


class RawServer:
    """A server on loopback that reads whole requests, keeps them, and answers each with the bytes it is told."""

    def __init__(self, answer: Callable[[int], Reply]) -> None:
        """`answer(n)` is the reply to the n-th request of all, from 0."""
        self.requests: list[bytes] = []
        self._answer = answer
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Ends the server and its connections."""
        self._ending.set()
        # Closing alone would not wake the thread that waits in accept.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def wait_for_requests(self, count: int, timeout_s: float = 3.0) -> None:
        """Returns once `count` requests were read. Fails the test if they don't come."""
        deadline = time.monotonic() + timeout_s
        while len(self.requests) < count:
            assert time.monotonic() < deadline, f"{len(self.requests)} of {count} requests came within {timeout_s} s"
            time.sleep(0.005)

    def _accept(self) -> None:
        while not self._ending.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while (request := _read_request(connection)) is not None:
                with self._lock:
                    number = len(self.requests)
                    self.requests.append(request)
                reply = self._answer(number)
                connection.sendall(reply.data)
                if reply.then == "hold":
                    self._ending.wait(10)
                    return
                if reply.then == "reset":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if reply.then != "keep":
                    return


def _read_request(connection: socket.socket) -> bytes | None:
    data = b""
    while b"\r\n\r\n" not in data:
        try:
            chunk = connection.recv(65_536)
        except OSError:
            return None
        if not chunk:
            return None
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


class LoadProcess:
    """`python -m harness.load`, started as the session starts it: own session, pipes for stdin and stdout."""

    def __init__(self, job: Mapping[str, Any], *, cwd: Path, env: dict[str, str] | None) -> None:
        self.rows_path = Path(job["rows"])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness.load"],
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.send(job)

    def send(self, message: object) -> None:
        """Writes one line to the process."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        """The next line of its stdout."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = self.process.stdout.readline()
        assert line, f"it said nothing more; stderr: {self.process.stderr.read().decode()}"
        message: dict[str, Any] = json.loads(line)
        return message

    def go(self, after_s: float = 0.05) -> int:
        """Waits for ready, then starts the schedule; returns t0, monotonic ns."""
        assert self.read()["ready"] is True
        t0_ns = time.monotonic_ns() + int(after_s * 1e9)
        self.send({"t0_ns": t0_ns})
        return t0_ns

    def finish(self) -> dict[str, Any]:
        """What it says when it is done; it must end with status 0 and nothing more to say."""
        done = self.read()
        assert done["done"] is True
        # The session may hang up as soon as it knows; that is no failure any more.
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(5) == 0
        assert self.process.stdout is not None
        assert self.process.stdout.read() == b""
        return done

    def stderr(self) -> str:
        """All that it wrote to stderr, once it has ended."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def rows(self) -> RowFile:
        """Its account, as it is now."""
        return read_rows(self.rows_path)

    def end(self) -> None:
        """Ends the process, if the test has not, and closes the pipes."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(5)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:  # What was still buffered for it has no reader any more.
                continue


@contextlib.contextmanager
def full_listener() -> Iterator[int]:
    """The port of a server that takes no connection."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
