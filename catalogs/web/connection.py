"""A connection to a web server on which nothing can wait, or go on, for ever."""

from __future__ import annotations

import io
import queue
import socket
import ssl
import threading
import time
from functools import cache
from typing import Any
from urllib.parse import SplitResult

MAX_HEADER_BYTES = 1 << 20


class EndlessAnswer(OSError):
    """More bytes came than any answer may have."""


class Deadline:
    """A moment that everything must be over by."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that remain; raise TimeoutError where none do."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class Wire(io.RawIOBase):
    """A socket as a stream: every wait ends at the deadline, and at most ``max_bytes`` pass."""

    def __init__(self, connection: socket.socket, deadline: Deadline, max_bytes: int) -> None:
        self._connection, self._deadline = connection, deadline
        self._num_left = max_bytes + MAX_HEADER_BYTES
        self.is_at_end = False

    def readable(self) -> bool:
        """Say that this stream can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Receive what is there, waiting for some."""
        self._connection.settimeout(self._deadline.left())
        count = self._connection.recv_into(buffer)
        self.is_at_end = count == 0
        self._num_left -= count
        if self._num_left < 0:
            raise EndlessAnswer
        return count

    def makefile(self, mode: str) -> io.BufferedReader:
        """Do what http.client asks of a socket."""
        return io.BufferedReader(self)


def connect(address: SplitResult, deadline: Deadline) -> socket.socket:
    """Return a connection to an http or https address; raise OSError or UnicodeError where there is none in time."""
    host = address.hostname or ""
    found = _resolve(host, address.port or (443 if address.scheme == "https" else 80), deadline)
    for number, (family, kind, protocol, _, where) in enumerate(found, 1):
        raw = socket.socket(family, kind, protocol)
        try:
            # An address that swallows packets must leave time for the next one.
            raw.settimeout(deadline.left() / (len(found) - number + 1))
            raw.connect(where)
            break
        except OSError:
            raw.close()
            if number == len(found):
                raise
    if address.scheme == "http":
        return raw
    try:
        raw.settimeout(deadline.left())
        return _tls_context().wrap_socket(raw, server_hostname=host)
    except BaseException:
        raw.close()
        raise


def _resolve(host: str, port: int, deadline: Deadline) -> list[Any]:
    """Look a name up in a thread that is left behind when it is late: the call itself knows no time-out."""
    answer: queue.SimpleQueue[list[Any] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answer.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except (OSError, UnicodeError) as error:
            answer.put(error)

    threading.Thread(target=look_up, daemon=True, name=f"look up {host}").start()
    try:
        found = answer.get(timeout=deadline.left())
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(found, Exception):
        raise found
    return found


@cache
def _tls_context() -> ssl.SSLContext:
    return ssl.create_default_context()
