"""The process by which a load machine takes part: Locust's worker for being there, our messages for what is to be done.

Between the one that measures and `afterload load`, with which it talks in lines of JSON, and whose load processes send the load.
"""

from __future__ import annotations

# Locust before everything else: importing it patches the process for gevent, and what is imported earlier keeps unpatched parts.
import locust  # isort: skip
import hashlib
import json
import logging
import os
import platform
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import gevent.event
import gevent.socket
import numpy as np
import zmq
from locust.env import Environment
from locust.runners import WorkerRunner
from zmq.utils.monitor import parse_monitor_message

from harness.load.machines.wire import PREFIX, PROTOCOL, say_goodbye, use_token
from harness.load.session import SessionGoneError, SessionTalk

__all__ = ["run"]

DONE = 0
FAILED = 1
LOOK_EVERY_S = 0.2
AGAIN_S = 2.0
"""After a connection broke, one of the same run must be there again within this time; ZeroMQ makes it by itself."""


class Connection:
    """What is known of the connection to the one that measures, from ZeroMQ's own monitor."""

    def __init__(self) -> None:
        self.was_open = False  # a connection, also one that came to nothing
        self.is_up = False  # both sides have the same token

    def watch(self, monitor: Any) -> None:
        """Follows a monitor socket for the rest of the process."""
        gevent.spawn(self._follow, monitor)

    def _follow(self, monitor: Any) -> None:
        while True:
            event = parse_monitor_message(monitor.recv_multipart())["event"]
            self.was_open = self.was_open or event == zmq.EVENT_CONNECTED
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.is_up = True
            elif event in {zmq.EVENT_DISCONNECTED, zmq.EVENT_CLOSED}:
                self.is_up = False


class Member:
    """One load machine's part in one run."""

    def __init__(self, config: dict[str, Any], talk: SessionTalk) -> None:
        self._config = config
        self._talk = talk
        self._folder = Path(config["folder"])
        self._connection = Connection()
        self._bodies: dict[str, str] = {}
        self._files: dict[int, Path] = {}
        self._standing: dict[str, Any] = {}
        self._runner: WorkerRunner | None = None
        self._end: gevent.event.AsyncResult = gevent.event.AsyncResult()

    def run(self) -> None:
        """Joins and takes part until the run is over, or there is nobody any more on one of the two sides."""
        gevent.spawn(self._listen)
        gevent.spawn(self._join)
        said = self._end.get()
        if self._runner is not None:
            self._runner.greenlet.kill()
            say_goodbye(self._runner.client)
        if said:
            self._talk.say(said)

    # To the one that measures.

    def _join(self) -> None:
        host, port = self._config["address"]
        use_token(self._config["token"], self._connection.watch)
        environment = Environment(user_classes=[])
        gevent.spawn(self._join_in_time)
        # Returns once a master has answered.
        runner = self._runner = environment.create_worker_runner(host, port)
        for name in ("welcome", "refused", "ping", "body", "job", "begin", "stop", "rows"):
            runner.register_message(PREFIX + name, getattr(self, f"_on_{name}"))
        events: Any = environment.events
        events.report_to_master.add_listener(self._on_report)
        versions = {"locust": locust.__version__, "numpy": np.__version__, "python": platform.python_version()}
        self._send(
            "hello",
            protocol=PROTOCOL,
            version=self._config["version"],
            versions=versions,
            machine=socket.gethostname(),
            processes=self._config["processes"],
            here=self._config["here"],
            clock=self._config["clock"],
            locustfile_sha256=self._config["locustfile_sha256"],
        )
        gevent.spawn(self._notice_the_end, runner)
        gevent.spawn(self._notice_the_loss)

    def _join_in_time(self) -> None:
        gevent.sleep(self._config["join_s"])
        if self._runner is None:
            self._leave(event="not_joined", is_token_wrong=self._connection.was_open and not self._connection.is_up)

    def _notice_the_end(self, runner: WorkerRunner) -> None:
        # They end when the master says so, and when it has given no heart beat for a while.
        runner.greenlet.join()
        last = runner.last_heartbeat_timestamp
        is_silent = last is not None and time.time() - last > 3.0
        self._leave(event="gone" if is_silent else "over", why="it gave no more sign of life")

    def _notice_the_loss(self) -> None:
        down_s: float | None = None
        while True:
            gevent.sleep(LOOK_EVERY_S)
            if self._connection.is_up:
                down_s = None
            elif down_s is None:
                down_s = time.monotonic()
            elif time.monotonic() - down_s > AGAIN_S:
                self._leave(event="gone", why="the connection to it broke")

    def _on_welcome(self, msg: Any, **_: Any) -> None:
        self._say("welcome", target=msg.data["target"])

    def _on_refused(self, msg: Any, **_: Any) -> None:
        self._leave(event="refused", why=msg.data["why"])

    def _on_ping(self, msg: Any, **_: Any) -> None:
        received_ns = time.monotonic_ns()
        self._send("pong", number=msg.data["number"], received_ns=received_ns, sent_ns=time.monotonic_ns())

    def _on_body(self, msg: Any, **_: Any) -> None:
        path = self._folder / f"body-{len(self._bodies)}"
        path.write_bytes(msg.data["data"])
        self._bodies[msg.data["path"]] = str(path)

    def _on_job(self, msg: Any, **_: Any) -> None:
        templates = [
            {**template, **({"body_file": self._bodies[template["body_file"]]} if template.get("body_file") else {})}
            for template in msg.data["templates"]
        ]
        self._say(
            "job", jobs=msg.data["jobs"], templates=templates, most_rows=msg.data["most_rows"], warm_up_s=msg.data["warm_up_s"]
        )

    def _on_begin(self, msg: Any, **_: Any) -> None:
        self._say("begin", t0_ns=msg.data["t0_ns"])

    def _on_stop(self, **_: Any) -> None:
        self._say("stop")

    def _on_rows(self, msg: Any, **_: Any) -> None:
        process, start = msg.data["process"], msg.data["start"]
        with self._files[process].open("rb") as file:
            file.seek(start)
            self._send("frame", process=process, start=start, data=file.read(msg.data["length"]))

    def _on_report(self, client_id: str, data: dict[str, Any]) -> None:
        data["standing"] = self._standing

    # To `afterload load`.

    def _listen(self) -> None:
        try:
            while True:
                self._obey(json.loads(self._talk.read_line()))
        except SessionGoneError as error:
            if self._runner is not None:
                self._send("leave", why=f"afterload load ended there ({error})")
            self._leave()

    def _obey(self, said: dict[str, Any]) -> None:
        if "standing" in said:
            self._standing = said["standing"]
        elif "done" in said:
            for report in said["done"]:
                if (file := report["file"]) is not None:
                    path = self._files[report["process"]] = Path(file["path"])
                    report["file"] = {"name": path.name, "bytes": path.stat().st_size, "sha256": _sha256(path)}
            self._send("done", reports=said["done"], problem=said["problem"])
        elif "leave" in said:
            self._send("leave", why=said["leave"])
            self._leave()
        elif "ready" in said:
            self._send("ready", processes=said["ready"])

    def _send(self, what: str, **data: Any) -> None:
        assert self._runner is not None
        self._runner.send_message(PREFIX + what, data)

    def _say(self, event: str, **fields: Any) -> None:
        try:
            self._talk.say({"event": event, **fields})
        except SessionGoneError:
            self._leave()

    def _leave(self, **said: Any) -> None:
        if not self._end.ready():
            self._end.set(said)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        step: Callable[[], bytes] = lambda: file.read(1 << 20)  # noqa: E731 - iter() wants a function
        for data in iter(step, b""):
            digest.update(data)
            gevent.sleep(0)
    return digest.hexdigest()


def run(input_fd: int, output_fd: int) -> int:
    """Follows `afterload load` on `input_fd`, answers on `output_fd`; returns the exit status."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")
    talk = SessionTalk(input_fd, output_fd, gevent.socket.wait_read)
    try:
        Member(json.loads(talk.read_line()), talk).run()
    except SessionGoneError:
        return FAILED
    # Whatever Locust registered for an orderly exit has nothing left to do.
    sys.stderr.flush()
    os._exit(DONE)
