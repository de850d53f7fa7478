"""Every request that leaves this process, whoever wrote it, is a row: a tap on the two HTTP clients that Locust's users have.

The tap is where one call is one send: below redirects, below the retries of an adapter, below the users' sessions. So a redirect
or a retry that a locustfile asks for is a request of its own, with an operation id of its own; and none is sent unseen, because
the pools of geventhttpclient lose their habit of resending (see connections.py). What is sent elsewhere than to the server under
test is let through without a row, on this machine; the users of a load test have no business with another.
"""
# ruff: noqa: SLF001 - a tap goes where there is no public way in

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

import gevent
from gevent.local import local
from locust.clients import HttpSession
from locust.contrib.fasthttp import FastHttpSession
from locust.user.task import LOCUST_STATE_STOPPING, LOCUST_STATE_WAITING
from urllib3.connection import HTTPConnection
from urllib3.exceptions import NewConnectionError

from harness.load import tap_fast, tap_requests
from harness.load.job import LoadJob
from harness.load.naming import RouteNames
from harness.load.pacing import operation_id
from harness.load.recorder import RequestRecorder
from harness.load.sending import Sending
from harness.load.traffic import REFUSED_PAUSE_S

__all__ = ["Wiretap"]


class Wiretap:
    """The tap of this process, installed once and for good."""

    def __init__(self, job: LoadJob, recorder: RequestRecorder, names: RouteNames) -> None:
        self._job, self._recorder, self._names = job, recorder, names
        # Numbers of this process alone: k-th request of process p is request k * processes + p of all.
        self._numbers = itertools.count(job.process, job.processes)
        self._here = local()  # of each greenlet: what its user's session is about to send
        self.is_stopping = False
        """Set at the end of the load: a user who begins another request is stopped there, unless it is its farewell."""
        self.n_elsewhere = 0
        self.refused_hosts: dict[str, int] = {}

    def install(self) -> None:
        """Taps the clients. Every request from now on is recorded."""
        for session in (FastHttpSession, HttpSession):
            self._tap_session(session)
        tap_fast.install(self)
        tap_requests.install(self)

    def begin(self, method: str, path: str) -> tuple[Sending, str]:
        """Publishes the row of a request that is about to leave; also gives its operation id in digits."""
        route = self._names.route(method, getattr(self._here, "name", None), path)
        op = operation_id(self._job.run_tag, next(self._numbers))
        self._recorder.launched()
        sent_ns = time.monotonic_ns()
        return Sending(self._recorder, self._recorder.sent(op, route, sent_ns, sent_ns), route), f"{op:016x}"

    def is_ours(self, host: str, port: int) -> bool:
        """True for the server under test. Counts the others, and raises for those that are on another machine."""
        if self._recorder.is_closed:
            return False
        if port == self._job.port and (host == self._job.host or (_is_loopback(host) and _is_loopback(self._job.host))):
            return True
        if getattr(self._here, "is_user", False) and not _is_loopback(host):
            self.refused_hosts[f"{host}:{port}"] = self.refused_hosts.get(f"{host}:{port}", 0) + 1
            gevent.sleep(REFUSED_PAUSE_S)
            raise _ElsewhereError(host, port)
        self.n_elsewhere += 1
        return False

    @contextlib.contextmanager
    def _user_sends(self, user: Any, name: str | None) -> Iterator[None]:
        if (self.is_stopping or _is_dying(user)) and not _is_farewell(sys._getframe(2)):
            _end_user(user)
        here = self._here
        before = getattr(here, "name", None), getattr(here, "is_user", False)
        here.name, here.is_user = name, True
        try:
            yield
        finally:
            here.name, here.is_user = before

    def _tap_session(self, session: Any) -> None:
        send, tap = session.request, self

        def request(self: Any, method: Any, url: Any, name: str | None = None, *args: Any, **kwargs: Any) -> Any:
            with tap._user_sends(self.user, name or self.request_name or None):
                return send(self, method, url, name, *args, **kwargs)

        session.request = request


class _ElsewhereError(ConnectionRefusedError, NewConnectionError):
    """A user wants to send load to another machine. An error that each of the two clients takes for a refused connection."""

    def __init__(self, host: str, port: int) -> None:
        message = f"afterload sends load to the server that it started, not to {host}:{port}; use a path without a host"
        NewConnectionError.__init__(self, HTTPConnection(host, port), message)
        self._message = message

    def __str__(self) -> str:
        return self._message


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_farewell(frame: FrameType | None) -> bool:
    """True within an `on_stop`: what a leaving user sends there, it sends."""
    while frame is not None:
        if frame.f_code.co_name == "on_stop":
            return True
        frame = frame.f_back
    return False


def _is_dying(user: Any) -> bool:
    """True if this greenlet is a user whom Locust has killed, and who has not been told yet.

    A kill is delivered by the event loop, and a user who wakes up in the same round goes on until then: into a request, which
    would be cut off in the middle.
    """
    return user is not None and user.greenlet is gevent.getcurrent() and user.greenlet in user.group.dying


def _end_user(user: Any) -> NoReturn:
    """Ends a user who is about to send something after the end of the load, or after its own."""
    if user is not None and user.greenlet is gevent.getcurrent():
        if user._state != LOCUST_STATE_STOPPING and user.greenlet not in user.group.dying:
            # Locust has not come to this user yet: it will find one who waits.
            user._state = LOCUST_STATE_WAITING
        if user._state != LOCUST_STATE_STOPPING or user.greenlet in user.group.dying:
            gevent.get_hub().switch()  # Until the kill comes: to leave now would be to be killed in the farewell.
    raise gevent.GreenletExit
