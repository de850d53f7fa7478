"""The process that other machines join: Locust's master for who is there, our messages for what is to be done and what was.

Between the session, with which it talks in lines of JSON, and the members: it hands out jobs, reads their clocks, tells them when
to begin, and fetches their rows. It sends no load.
"""

from __future__ import annotations

# Locust before everything else: importing it patches the process for gevent, and what is imported earlier keeps unpatched parts.
import locust  # noqa: F401  # isort: skip
import dataclasses
import functools
import json
import logging
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
import gevent.event
import gevent.pool
import gevent.socket
import zmq
from locust.env import Environment
from locust.runners import STATE_MISSING, MasterRunner
from zmq.utils.monitor import parse_monitor_message

from harness.load.machines.clock import Ping, Reading, Relation, read_clock, relate
from harness.load.machines.fetch import Fetch, FetchError
from harness.load.machines.wire import PREFIX, PROTOCOL, BindError, resolve_one, say_goodbye, use_token
from harness.load.session import SessionGoneError, SessionTalk

__all__ = ["run"]

DONE = 0
FAILED = 1
USAGE = 2
LOOK_EVERY_S = 0.1
N_PINGS = 15  # before and after the load
N_PINGS_AMID = 3  # in it, each time
PING_EVERY_S = 1.0
PING_PAUSE_S = 0.005
PING_TIMEOUT_S = 3.0


@dataclass
class Member:
    """One load machine that has joined."""

    number: int
    id: str
    machine: str
    processes: int
    has_our_clock: bool  # it is on this machine
    readings: list[Reading] = field(default_factory=list)
    pongs: dict[int, gevent.event.AsyncResult] = field(default_factory=dict)
    fetches: dict[int, Fetch] = field(default_factory=dict)
    standing: dict[str, Any] = field(default_factory=dict)
    is_lost: bool = False
    has_left: bool = False
    has_sent_all: bool = False
    is_finished: bool = False  # all that it has to say was said, and its rows are here

    @property
    def is_there(self) -> bool:
        """It takes part."""
        return not (self.is_lost or self.has_left)


class Master:
    """One run's."""

    def __init__(self, config: dict[str, Any], talk: SessionTalk) -> None:
        """Begins to listen. Raises BindError."""
        self._talk = talk
        self._expected: int = config["expect"]
        self._version: str = config["version"]
        self._target: str = config["target"]
        self._target_is_loopback: bool = config["target_is_loopback"]
        self._here: str = config["here"]
        self._clock: str = config["clock"]
        self._locustfile: str | None = config["locustfile_sha256"]
        self._rundir = Path(config["rundir"])
        self._members: dict[str, Member] = {}
        self._has_jobs = False
        self._has_begun = False
        self._next_ping = 0
        self._over = gevent.event.Event()
        use_token(config["token"], lambda monitor: gevent.spawn(self._watch_connections, monitor))
        host, port = config["bind"]
        try:
            address = resolve_one(host)
        except OSError as error:
            raise BindError(f"cannot listen on {host}: {error.strerror}") from error
        self._environment = Environment(user_classes=[])
        self._runner: MasterRunner = self._environment.create_master_runner(address, port)
        for name in ("hello", "leave", "pong", "ready", "done", "frame"):
            self._runner.register_message(PREFIX + name, getattr(self, f"_on_{name}"))
        events: Any = self._environment.events
        events.worker_report.add_listener(self._on_report)
        self._say("listening", port=self._runner.server.port)

    def run(self) -> None:
        """Does what the session says, until that hangs up or says that it is over."""
        gevent.spawn(self._watch)
        gevent.spawn(self._listen)
        self._over.wait()
        for member in self._there():
            self._runner.send_message("quit", client_id=member.id)
        self._runner.greenlet.kill()
        say_goodbye(self._runner.server)

    def _listen(self) -> None:
        try:
            while not self._over.is_set():
                self._obey(json.loads(self._talk.read_line()))
        except SessionGoneError:
            self._over.set()

    def _obey(self, said: dict[str, Any]) -> None:
        if "jobs" in said:
            self._has_jobs = True
            gevent.spawn(self._give_jobs, said)
        elif "t0_ns" in said:
            self._has_begun = True
            for member in self._there():
                self._send(member, "begin", t0_ns=said["t0_ns"] + (member.readings[-1].offset_ns if member.readings else 0))
            gevent.spawn(self._follow_clocks)
        elif "stop" in said:
            for member in self._there():
                self._send(member, "stop")
        elif "over" in said:
            self._over.set()

    # Who is there.

    def _on_hello(self, msg: Any, **_: Any) -> None:
        said = msg.data
        machine = str(said["machine"])
        if msg.node_id in self._members:
            return
        if why := self._why_not(said):
            self._runner.send_message(PREFIX + "refused", {"why": why}, client_id=msg.node_id)
            self._say("refused", machine=machine, why=why)
            return
        member = Member(
            len(self._members), msg.node_id, machine, int(said["processes"]), has_our_clock=said["clock"] == self._clock
        )
        self._members[msg.node_id] = member
        gevent.spawn(self._welcome, member, said["versions"])

    def _why_not(self, said: dict[str, Any]) -> str | None:
        """Why somebody may not join; None: welcome."""
        if (said["protocol"], said["version"]) != (PROTOCOL, self._version):
            return (
                f"it runs afterload {said['version']} (protocol {said['protocol']}), "
                f"and the machine that measures {self._version} (protocol {PROTOCOL}): install the same version on both"
            )
        if self._target_is_loopback and said["here"] != self._here:
            return (
                f"the server will listen on {self._target}, which only its own machine reaches: run it with --host ADDRESS "
                "and --yes-this-target-is-mine ADDRESS, where ADDRESS is one by which the load machines reach it"
            )
        if self._locustfile != said["locustfile_sha256"]:
            return _why_other_file(self._locustfile, said["locustfile_sha256"])
        if len(self._there()) >= self._expected:
            return f"all {self._expected} load machines that were asked for with --expect-loads are there already"
        if self._has_jobs:
            return "the load is being sent already"
        return None

    def _welcome(self, member: Member, versions: dict[str, str]) -> None:
        self._runner.send_message(PREFIX + "welcome", {"target": self._target}, client_id=member.id)
        self._read_clock(member, N_PINGS)
        if member.is_there and not (member.readings or member.has_our_clock):
            self._lose(member, "its clock could not be read: it answered none of the pings")
        if member.is_there:
            self._say(
                "joined",
                member=member.number,
                machine=member.machine,
                processes=member.processes,
                versions=versions,
                clock=_last_reading(member),
            )

    def _on_leave(self, msg: Any, **_: Any) -> None:
        member = self._members.get(msg.node_id)
        if member is not None and member.is_there:
            member.has_left = True
            if not member.is_finished:
                self._say("left", member=member.number, machine=member.machine, why=str(msg.data["why"]), said=member.standing)

    def _watch(self) -> None:
        """Notices who is gone, and lets the session know how the load stands."""
        told: list[Any] = []
        while True:
            gevent.sleep(LOOK_EVERY_S)
            for member in self._there():
                node = self._runner.clients.get(member.id)
                if node is None or node.state == STATE_MISSING:
                    self._lose(member, "it gave no more sign of life")
            standing = [member.standing for member in self._members.values()]
            if standing != told:
                told = [dict(each) for each in standing]
                self._say("standing", members=told)

    def _watch_connections(self, monitor: Any) -> None:
        # A heart beat that does not come is noticed after seconds, a connection that breaks at once; only it does not say whose.
        while True:
            if parse_monitor_message(monitor.recv_multipart())["event"] == zmq.EVENT_DISCONNECTED:
                for member in self._there():
                    gevent.spawn(self._lose_if_silent, member)

    def _lose_if_silent(self, member: Member) -> None:
        if self._ping(member) is None and member.is_there:
            self._lose(member, "the connection to it broke")

    def _lose(self, member: Member, why: str) -> None:
        member.is_lost = True
        for fetch in member.fetches.values():
            fetch.lose()
        if not member.is_finished:
            self._say("lost", member=member.number, machine=member.machine, why=why, said=member.standing)

    def _there(self) -> list[Member]:
        return [member for member in self._members.values() if member.is_there]

    # What is to be done.

    def _give_jobs(self, said: dict[str, Any]) -> None:
        # What a template's body is read from is a file of this machine.
        paths = sorted({template["body_file"] for template in said["templates"] if template.get("body_file")})
        for member in self._there():
            jobs = said["jobs"].get(str(member.number))
            if jobs is None:
                continue
            for path in paths:
                self._send(member, "body", path=path, data=Path(path).read_bytes())
            self._send(member, "job", **{**said, "jobs": jobs})

    def _on_ready(self, msg: Any, **_: Any) -> None:
        member = self._members[msg.node_id]
        # Again, as late as possible: the start is told by it.
        gevent.spawn(self._say_ready, member, msg.data["processes"])

    def _say_ready(self, member: Member, processes: list[dict[str, Any]]) -> None:
        self._read_clock(member, N_PINGS)
        self._say("ready", member=member.number, processes=processes, clock=_last_reading(member))

    def _on_report(self, client_id: str, data: dict[str, Any]) -> None:
        if client_id in self._members and "standing" in data:
            self._members[client_id].standing = data["standing"]

    # What was done.

    def _on_done(self, msg: Any, **_: Any) -> None:
        member = self._members[msg.node_id]
        member.has_sent_all = True
        gevent.spawn(self._finish, member, msg.data["reports"], msg.data["problem"])

    def _finish(self, member: Member, reports: list[dict[str, Any]], problem: str | None) -> None:
        self._read_clock(member, N_PINGS)
        relation: Relation | None = None
        if not member.has_our_clock:
            relation = relate(sorted(member.readings, key=lambda reading: reading.at_ns))
            self._say(
                "clock",
                member=member.number,
                machine=member.machine,
                relation=dataclasses.asdict(relation),
                drift_ppm=round(relation.drift_ppm, 3),
                readings=[dataclasses.asdict(reading) for reading in (member.readings[0], member.readings[-1])],
                n_readings=len(member.readings),
            )
        for report in reports:
            file = report.pop("file")
            stored: dict[str, Any] = {}
            if file is not None:
                ask = functools.partial(self._ask, member, report["process"])
                fetch = Fetch(self._rundir / file["name"], file["bytes"], ask)
                member.fetches[report["process"]] = fetch
                try:
                    fetch.run()
                    fetch.check(file["sha256"])
                    stored = fetch.keep(relation)
                except (FetchError, OSError) as error:
                    fetch.drop()
                    stored = {"problem": f"{file['name']} of load machine {member.machine} did not come back whole: {error}"}
            self._say("done", member=member.number, machine=member.machine, report=report, stored=stored)
        member.is_finished = True
        self._say("finished", member=member.number, machine=member.machine, problem=problem)

    def _ask(self, member: Member, process: int, start: int, length: int) -> None:
        self._send(member, "rows", process=process, start=start, length=length)

    def _on_frame(self, msg: Any, **_: Any) -> None:
        fetch = self._members[msg.node_id].fetches.get(msg.data["process"])
        if fetch is not None:
            fetch.receive(msg.data["start"], msg.data["data"])

    # Clocks.

    def _follow_clocks(self) -> None:
        while not self._over.is_set():
            gevent.sleep(PING_EVERY_S)
            for member in self._there():
                if not member.has_sent_all:
                    self._read_clock(member, N_PINGS_AMID)

    def _read_clock(self, member: Member, n: int) -> None:
        if member.has_our_clock:
            return
        pings: list[Ping] = []
        for _ in range(n):
            if (ping := self._ping(member)) is not None:
                pings.append(ping)
            gevent.sleep(PING_PAUSE_S)
        if pings:
            member.readings.append(read_clock(pings))

    def _ping(self, member: Member) -> Ping | None:
        """One round trip; None: no answer in time."""
        if not member.is_there:
            return None
        number = self._next_ping = self._next_ping + 1
        answer = member.pongs[number] = gevent.event.AsyncResult()
        sent_ns = time.monotonic_ns()
        self._send(member, "ping", number=number)
        received = answer.wait(PING_TIMEOUT_S)
        del member.pongs[number]
        return None if received is None else Ping(sent_ns, received[1]["received_ns"], received[1]["sent_ns"], received[0])

    def _on_pong(self, msg: Any, **_: Any) -> None:
        now_ns = time.monotonic_ns()
        member = self._members.get(msg.node_id)
        if member is not None and (answer := member.pongs.get(msg.data["number"])) is not None:
            answer.set((now_ns, msg.data))

    def _send(self, member: Member, what: str, **data: Any) -> None:
        if member.is_there:
            self._runner.send_message(PREFIX + what, data, client_id=member.id)

    def _say(self, event: str, **fields: Any) -> None:
        try:
            self._talk.say({"event": event, **fields})
        except SessionGoneError:
            self._over.set()


def _last_reading(member: Member) -> dict[str, int] | None:
    return None if member.has_our_clock else dataclasses.asdict(member.readings[-1])


def _why_other_file(ours: str | None, theirs: str | None) -> str:
    if ours is None:
        return "the run has no locustfile, and it was given one: leave --locustfile out there"
    if theirs is None:
        return "the run is of a locustfile, and those are not sent over the network: give the same file there with --locustfile"
    return f"its locustfile (sha256 {theirs[:12]}) is not the one of the run (sha256 {ours[:12]})"


def run(input_fd: int, output_fd: int) -> int:
    """Follows the session on `input_fd`, answers on `output_fd`; returns the exit status."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")
    talk = SessionTalk(input_fd, output_fd, gevent.socket.wait_read)
    try:
        Master(json.loads(talk.read_line()), talk).run()
    except BindError as error:
        sys.stderr.write(f"error: {error}\n")
        return USAGE
    except SessionGoneError:
        return FAILED
    # Whatever Locust registered for an orderly exit has nothing left to do.
    sys.stderr.flush()
    os._exit(DONE)
