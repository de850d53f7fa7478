"""Servers without Starlette: `bare.py MODE PORT`. Standard library only."""

import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_OPTIONS(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        body = b"{}"
        self.send_response(404 if self.path == "/nothing" else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


def main() -> None:
    mode, port = sys.argv[1], int(sys.argv[2])
    print(f"bare: {mode}")  # into a buffer, if standard output is a file
    if mode == "exits":
        sys.exit("no database today")
    if mode == "sleeps":
        time.sleep(60)
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode == "parent" and os.fork() != 0:
        # The child serves; this process waits for nothing in particular and hands on no signal.
        threading.Event().wait()
    Server(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()
