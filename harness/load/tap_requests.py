"""The tap on requests and urllib3, the client of HttpUser. Pinned by tests: it reaches into what the library keeps to itself."""
# ruff: noqa: SLF001 - a tap goes where there is no public way in

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator, Iterator
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from typing import Any

import gevent
import urllib3.util.connection
from urllib3 import HTTPHeaderDict
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ReadTimeoutError
from urllib3.response import HTTPResponse
from urllib3.util.response import is_fp_closed

from harness.load.connections import resolve, tells_most, why_not_connected
from harness.load.sending import Sending, before, mark, marked, wrap
from harness.load.template import OP_HEADER
from harness.load.traffic import REFUSED_PAUSE_S
from harness.rows import Outcome, RequestError

__all__ = ["install"]


def install(tap: Any) -> None:
    """Taps it for `tap`, a Wiretap."""
    send = HTTPConnectionPool._make_request

    def _make_request(
        self: HTTPConnectionPool, conn: Any, method: str, url: str, body: Any = None, headers: Any = None, **options: Any
    ) -> Any:
        if not tap.is_ours(self.host, int(self.port or 80)):
            return send(self, conn, method, url, body=body, headers=headers, **options)
        sending, digits = tap.begin(method, url)
        own = HTTPHeaderDict(self.headers if headers is None else headers)
        own[OP_HEADER] = digits
        with _failures(sending):
            response: Any = send(self, conn, method, url, body=body, headers=own, **options)
        sending.status = response.status
        mark(response, sending)
        _completed(response)
        return response

    wrap(HTTPConnectionPool, "_make_request", lambda _: _make_request)
    wrap(HTTPResponse, "_raw_read", _reading)
    wrap(HTTPResponse, "read_chunked", _reading_chunks)
    wrap(HTTPResponse, "close", before(_let_go))
    wrap(urllib3.util.connection, "create_connection", _connecting)


def _connecting(original: Callable[..., Any]) -> Callable[..., Any]:
    """To one address after another. The library raises the error of the last one, which may have been refused at once."""
    known = functools.lru_cache(resolve)

    def create_connection(address: tuple[str, int], *args: Any, **options: Any) -> Any:
        host, port = address
        found = known(host.strip("[]"), port)
        if len(found) < 2:
            return original(address, *args, **options)
        errors: list[tuple[Any, OSError]] = []
        for each in found:
            try:
                return original((each[4][0], port), *args, **options)
            except OSError as error:
                errors.append((each, error))
        raise tells_most(errors)

    return create_connection


@contextlib.contextmanager
def _failures(sending: Sending) -> Iterator[None]:
    try:
        yield
    except gevent.Timeout:
        sending.broken(Outcome.IND, RequestError.TIMED_OUT)
        raise
    except (NewConnectionError, ConnectTimeoutError) as error:
        sending.broken(Outcome.REJ, why_not_connected(error.__cause__))
        gevent.sleep(REFUSED_PAUSE_S)
        raise
    except Exception as error:
        sending.broken(Outcome.IND, _why(error))
        raise
    except BaseException:
        sending.left()
        raise


def _why(error: BaseException | None) -> RequestError:
    """urllib3 wraps what went wrong, sometimes twice."""
    while error is not None:
        if isinstance(error, (ReadTimeoutError, TimeoutError)):
            return RequestError.TIMED_OUT
        if isinstance(error, (RemoteDisconnected, IncompleteRead)):
            return RequestError.CLOSED_EARLY
        if isinstance(error, ConnectionError):
            return RequestError.RESET
        if isinstance(error, HTTPException):
            return RequestError.OTHER
        error = error.__cause__
    return RequestError.OTHER


def _completed(response: Any) -> None:
    sending = marked(response)
    if sending is not None and is_fp_closed(response._fp):
        sending.answered(response._fp_bytes_read)


def _reading(original: Callable[..., Any]) -> Callable[..., Any]:
    def _raw_read(self: Any, *args: Any, **kwargs: Any) -> Any:
        sending = marked(self)
        if sending is None:
            return original(self, *args, **kwargs)
        with _failures(sending):
            data = original(self, *args, **kwargs)
        _completed(self)
        return data

    return _raw_read


def _reading_chunks(original: Callable[..., Any]) -> Callable[..., Any]:
    def read_chunked(self: Any, *args: Any, **kwargs: Any) -> Generator[bytes]:
        sending = marked(self)
        if sending is None:
            yield from original(self, *args, **kwargs)
            return
        size_bytes = 0
        chunks = original(self, *args, **kwargs)
        while True:
            with _failures(sending):
                chunk = next(chunks, None)
            if chunk is None:
                break
            size_bytes += len(chunk)
            yield chunk
        sending.answered(size_bytes)

    return read_chunked


def _let_go(response: Any) -> None:
    sending = marked(response)
    if sending is not None:
        sending.broken(Outcome.IND, RequestError.OTHER)  # The user did not want the rest of the answer.
