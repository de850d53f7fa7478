"""The tap on geventhttpclient, the client of FastHttpUser. Pinned by tests: it reaches into what the library keeps to itself."""
# ruff: noqa: SLF001 - a tap goes where there is no public way in

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import gevent
from geventhttpclient.client import HTTPClient
from geventhttpclient.connectionpool import ConnectionPool
from geventhttpclient.response import HTTPParseError, HTTPSocketPoolResponse, HTTPSocketResponse

from harness.load.connections import NO_RESEND, connect, is_silent_and_open, no_delay, why_broken, why_not_connected
from harness.load.sending import Sending, before, mark, marked, wrap
from harness.load.template import OP_HEADER
from harness.load.traffic import REFUSED_PAUSE_S
from harness.rows import Outcome, RequestError

__all__ = ["install"]

_REFUSED = "_afterload_not_connected"


def install(tap: Any) -> None:
    """Taps it for `tap`, a Wiretap."""
    send = HTTPClient.request

    def request(self: HTTPClient, method: str, request_uri: str, body: Any = b"", headers: Any = None) -> Any:
        if not tap.is_ours(self.host, int(self.port or 80)):
            return send(self, method, request_uri, body=body, headers=headers)
        sending, digits = tap.begin(method.upper(), request_uri)
        own = self.headers_type(headers or {})
        own[OP_HEADER] = digits
        with _failures(sending):
            response = send(self, method, request_uri, body=body, headers=own)
            sending.status = int(response.get_code())
            mark(response, sending)
            if 300 <= sending.status <= 399 and not response.message_complete:
                # Whoever follows a redirect throws its body away, and the connection with it. Read first, it is a whole answer.
                response._body_buffer += response.read()
            if response.message_complete:
                _completed(response)
        return response

    wrap(HTTPClient, "request", lambda _: request)
    wrap(HTTPSocketResponse, "_on_message_complete", _completing)
    wrap(HTTPSocketPoolResponse, "release", before(_released))
    wrap(HTTPSocketResponse, "read", _reading)
    wrap(HTTPSocketResponse, "readline", _reading)
    _tap_pools()


def _tap_pools() -> None:
    init = ConnectionPool.__init__

    def _create_socket(self: ConnectionPool) -> Any:
        try:
            sock = connect(self)
        except OSError as error:
            setattr(error, _REFUSED, True)
            raise
        no_delay(sock)
        return sock

    def __init__(self: ConnectionPool, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        init(self, *args, **kwargs)
        self.size = NO_RESEND

    def _is_socket_alive(self: ConnectionPool, sock: Any) -> bool:
        return is_silent_and_open(sock)

    for method in (_create_socket, __init__, _is_socket_alive):
        setattr(ConnectionPool, method.__name__, method)


@contextlib.contextmanager
def _failures(sending: Sending) -> Iterator[None]:
    try:
        yield
    except gevent.Timeout:
        sending.broken(Outcome.IND, RequestError.TIMED_OUT)
        raise
    except OSError as error:
        if not getattr(error, _REFUSED, False):
            sending.broken(Outcome.IND, why_broken(error))
            raise
        sending.broken(Outcome.REJ, why_not_connected(error))
        gevent.sleep(REFUSED_PAUSE_S)
        raise
    except HTTPParseError as error:
        sending.broken(Outcome.IND, why_broken(error))
        raise
    except Exception:
        sending.broken(Outcome.IND, RequestError.OTHER)
        raise
    except BaseException:
        sending.left()
        raise


def _completing(original: Callable[..., Any]) -> Callable[..., Any]:
    def _on_message_complete(self: Any) -> None:
        original(self)
        _completed(self)

    return _on_message_complete


def _completed(response: Any) -> None:
    sending = marked(response)
    if sending is not None:
        sending.answered(response.content_length or len(response._body_buffer))


def _released(response: Any) -> None:
    # Within a read it is the client that lets go, because the message is complete or broken: whoever reads knows which.
    sending = marked(response)
    if sending is not None and not sending.is_being_read and not response.message_complete:
        sending.broken(Outcome.IND, RequestError.OTHER)  # The user did not want the rest of the answer.


def _reading(original: Callable[..., Any]) -> Callable[..., Any]:
    def read(self: Any, *args: Any, **kwargs: Any) -> Any:
        sending = marked(self)
        if sending is None:
            return original(self, *args, **kwargs)
        sending.is_being_read = True
        try:
            with _failures(sending):
                return original(self, *args, **kwargs)
        finally:
            sending.is_being_read = False

    return read
