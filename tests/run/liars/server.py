"""A server under test that can lie. Small and in pure Python; `--lie none` is an honest one, which must pass.

Registers over HTTP/1.1 keep-alive, sends the mail from a thread, and writes task rows with the harness's own writer.
"""

import argparse
import json
import os
import queue
import smtplib
import socket
import sys
import threading
import time
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from harness.rows import Gauge, Kind, RowWriter

ACCEPTED, FLUSHED, STARTED, FINISHED = 2, 3, 4, 5


class Work:
    """Rows and the threads that run tasks."""

    def __init__(self, rows: Path, boot: int, smtp: str, pool: int) -> None:
        self.rows = RowWriter(rows, Kind.TASKS, boot=boot)
        self.rows.gauge(Gauge.POOL_SIZE, pool)
        self.rows.gauge(Gauge.LANES, 64)
        self.lock = threading.Lock()
        self.waiting: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
        self.host, _, self.port = smtp.rpartition(":")
        for _ in range(pool):
            threading.Thread(target=self.run, daemon=True).start()

    def accept(self, op: int) -> int:
        with self.lock:
            return self.rows.append((op, 1 << 32 | 1 << 40, time.monotonic_ns()))

    def release(self, op: int, row: int) -> None:
        self.rows.store(row, FLUSHED, time.monotonic_ns())
        self.waiting.put((op, row))

    def run(self) -> None:
        while True:
            op, row = self.waiting.get()
            self.rows.store(row, STARTED, time.monotonic_ns())
            mail = EmailMessage()
            mail["From"], mail["To"], mail["Subject"] = "a@example.org", "b@example.org", "s"
            mail["X-Op-Id"] = f"{op:016x}"
            with smtplib.SMTP(self.host, int(self.port), local_hostname="localhost") as smtp:
                smtp.send_message(mail)
            self.rows.store(row, FINISHED, time.monotonic_ns())


def handler(work: Work, lie: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            op = int(self.headers["x-op-id"], 16)
            if lie == "late":
                self.answer()
                time.sleep(0.03)
                work.release(op, work.accept(op))
                return
            row = work.accept(op)
            if lie == "silent" and op % 8 == 0:
                work.release(op, row)
                threading.Event().wait()
            self.answer()
            work.release(op, row)

        def answer(self) -> None:
            self.wfile.write(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}")

        def log_message(self, *args: object) -> None:
            pass

    return Handler


def main() -> None:
    options = argparse.ArgumentParser()
    for name in ("--lie", "--host", "--rows"):
        options.add_argument(name)
    for name in ("--port", "--boot", "--pool"):
        options.add_argument(name, type=int)
    given = options.parse_args()
    smtp = json.loads(os.environ["AFTERLOAD_SCENARIO"])["world"]["smtp"]

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 1024
        allow_reuse_address = True

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((given.host, given.port))
    if given.lie == "escape" and given.boot == 1:
        # A child that leaves the session, clears its environment and keeps the listening socket: it outlives a careless kill.
        listener.listen(1024)
        if os.fork() == 0:
            os.setsid()
            os.set_inheritable(listener.fileno(), True)
            os.execve("/bin/sleep", ["sleep", "60"], {})
    work = Work(Path(given.rows), given.boot, smtp, given.pool)
    server = Server((given.host, given.port), handler(work, given.lie), bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.server_activate()
    work.rows.gauge(Gauge.READY, time.monotonic_ns())
    print("ready", file=sys.stderr, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
