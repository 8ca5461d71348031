"""One GET over the network: a whole answer within a deadline and a size, or a short reason why not.

It stands on the standard library's parser over a socket of our own. The libraries above it count their time-outs
anew with every read, so that a byte a second keeps them waiting for ever, and they take a body that ends early for a
whole one. Here every wait ends at one deadline, every byte counts, and a body must have its announced length.
"""

from __future__ import annotations

import random
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, IncompleteRead, RemoteDisconnected
from typing import cast
from urllib.parse import SplitResult, urljoin, urlsplit

from skymetal.catalogs.errors import printable
from skymetal.catalogs.web.connection import Deadline, EndlessAnswer, Wire, connect
from skymetal.catalogs.web.pace import Pacer

MAX_REDIRECTS = 5
MAX_RETRY_AFTER_S = 300.0
PIECE_BYTES = 1 << 16
ERROR_BODY_BYTES = 1 << 12
_REDIRECTS = (301, 302, 303, 307, 308)
_TRY_AGAIN = (408, 425, 429)


@dataclass(frozen=True, kw_only=True)
class FetchLimits:
    """How long to wait and how much to take: deadline_s a try, total_s over all tries and the pauses between them.

    Waiting for a turn does not count.
    """

    max_bytes: int = 16 << 20
    deadline_s: float = 30.0
    attempts: int = 5
    backoff_s: float = 0.5
    total_s: float = 900.0


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """An answer with status 200. Where is_whole_known is False, nothing announced how long the body should be."""

    url: str
    body: bytes
    is_whole_known: bool


class FetchFailed(RuntimeError):
    """No usable answer. is_final: asking again is useless. status is that of the HTTP answer, if there was one.

    body is how the page of an error begins.
    """

    def __init__(
        self,
        reason: str,
        *,
        is_final: bool = False,
        status: int | None = None,
        retry_after_s: float | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_final = is_final
        self.status = status
        self.retry_after_s = retry_after_s
        self.body = body


def fetch(url: str, *, limits: FetchLimits, user_agent: str) -> Fetched:
    """Ask once, following redirects to the same host; raise FetchFailed within limits.deadline_s otherwise."""
    deadline = Deadline(limits.deadline_s)
    address = _split(url)
    seen = {url}
    for _ in range(MAX_REDIRECTS + 1):
        answer = _ask(address, deadline, limits.max_bytes, user_agent)
        if isinstance(answer, Fetched):
            return answer
        address = _redirected(address, answer)
        if address.geturl() in seen:
            raise FetchFailed("redirected in a circle", is_final=True)
        seen.add(address.geturl())
    raise FetchFailed(f"redirected more than {MAX_REDIRECTS} times", is_final=True)


def fetch_patiently(
    url: str,
    *,
    limits: FetchLimits,
    user_agent: str,
    pacer: Pacer | None = None,
    accept: Callable[[bytes], str] | None = None,
    stopping: threading.Event | None = None,
) -> Fetched:
    """Ask up to limits.attempts times, with growing pauses, or the service's Retry-After, in between.

    ``accept`` says "" to a body it can use, or why another try is worth while. Raises the FetchFailed of the last try;
    also, without waiting, where a pause would outlast limits.total_s, and soon after ``stopping`` is set.
    """
    stopping = stopping or threading.Event()
    end = time.monotonic() + limits.total_s
    failure = FetchFailed("stopped: nobody waits for the answer")
    for attempt in range(limits.attempts):
        if pacer:
            start = time.monotonic()
            if not pacer.wait(stopping):
                break
            end += time.monotonic() - start
        try:
            fetched = fetch(url, limits=limits, user_agent=user_agent)
            complaint = accept(fetched.body) if accept else ""
            if not complaint:
                return fetched
            failure = FetchFailed(complaint, status=200)
        except FetchFailed as error:
            failure = error
        if failure.is_final or attempt + 1 == limits.attempts:
            break
        # Workers that failed together must not come back together.
        pause = limits.backoff_s * 2**attempt * random.uniform(0.5, 1.0)
        if failure.retry_after_s is not None:
            pause = max(pause, failure.retry_after_s)
            if pacer:
                pacer.hold(failure.retry_after_s)
        if time.monotonic() + pause > end or stopping.wait(pause):
            break
    raise failure


def _split(url: str) -> SplitResult:
    try:
        address = urlsplit(url)
        usable = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:
        usable = False
    if not usable or address.username is not None or not (url.isascii() and url.isprintable() and " " not in url):
        raise FetchFailed(f"not a web address: {_shown(url)}", is_final=True)
    return address._replace(fragment="")


def _redirected(address: SplitResult, location: str) -> SplitResult:
    """Return where the service sends us, if that is its own host, on the same port or from http to https."""
    try:
        target = _split(urljoin(address.geturl(), location))
    except (FetchFailed, ValueError):
        raise FetchFailed(f"redirected to no web address: {_shown(location)}", is_final=True) from None
    if target.hostname != address.hostname:
        raise FetchFailed(f"redirected to another host: {_shown(target.hostname or '')}", is_final=True)
    if target.scheme != address.scheme and target.scheme != "https":
        raise FetchFailed("redirected from https to http", is_final=True)
    if target.scheme == address.scheme and target.port != address.port:
        raise FetchFailed(f"redirected to another port: {target.port}", is_final=True)
    return target


def _ask(address: SplitResult, deadline: Deadline, max_bytes: int, user_agent: str) -> Fetched | str:
    """Return the answer, or where a redirect points."""
    try:
        with connect(address, deadline) as connection:
            connection.settimeout(deadline.left())
            connection.sendall(_request(address, user_agent))
            wire = Wire(connection, deadline, max_bytes)
            # The parser needs nothing of a socket but its makefile.
            with HTTPResponse(cast(socket.socket, wire), method="GET") as response:
                response.begin()
                if response.status in _REDIRECTS:
                    return response.headers.get("Location", "")
                _refuse_headers(response, max_bytes)
                body = _read_body(response, wire, max_bytes)
                is_whole_known = response.chunked or response.headers.get("Content-Length") is not None
                return Fetched(url=address.geturl(), body=body, is_whole_known=is_whole_known)
    except (OSError, HTTPException, ValueError) as error:
        is_final = isinstance(error, ssl.SSLCertVerificationError | EndlessAnswer)
        raise FetchFailed(_explained(error, deadline), is_final=is_final) from error


def _request(address: SplitResult, user_agent: str) -> bytes:
    if not (user_agent.isascii() and user_agent.isprintable()):
        raise ValueError(f"the user agent must be printable ASCII, got {user_agent!r}")
    target = f"{address.path or '/'}{'?' if address.query else ''}{address.query}"
    return (
        f"GET {target} HTTP/1.1\r\nHost: {address.netloc}\r\nUser-Agent: {user_agent}\r\n"
        "Accept: */*\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


def _refuse_headers(response: HTTPResponse, max_bytes: int) -> None:
    """Raise FetchFailed for a status other than 200 and for a body that is announced as nothing we can trust."""
    status = response.status
    if status != 200:
        phrase = HTTPStatus(status).phrase.lower() if status in HTTPStatus._value2member_map_ else "unknown status"
        is_final = 400 <= status < 500 and status not in _TRY_AGAIN
        raise FetchFailed(
            f"HTTP {status}: {phrase}",
            is_final=is_final,
            status=status,
            retry_after_s=_retry_after_s(response.headers.get("Retry-After", "")),
            body=_read_error(response),
        )
    lengths = response.headers.get_all("Content-Length", [])
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    transfer = response.headers.get_all("Transfer-Encoding", [])
    if encoding not in ("identity", ""):
        raise FetchFailed(f"compressed body: Content-Encoding is {_shown(encoding)}, asked for none", status=status)
    if [value.lower() for value in transfer] not in ([], ["chunked"]) or (transfer and lengths):
        raise FetchFailed(f"not HTTP: Transfer-Encoding is {_shown(', '.join(transfer))}", status=status)
    if lengths and (len(lengths) > 1 or not (lengths[0].isascii() and lengths[0].isdigit())):
        raise FetchFailed(f"not HTTP: Content-Length is {_shown(', '.join(lengths))}", status=status)
    if lengths and (len(lengths[0]) > 15 or int(lengths[0]) > max_bytes):
        reason = f"too large: {_shown(lengths[0])} bytes announced, at most {max_bytes} are taken"
        raise FetchFailed(reason, is_final=True, status=status)


def _read_error(response: HTTPResponse) -> bytes:
    """Return how an error's page begins; one that breaks off makes no other error of it."""
    body = b""
    with suppress(OSError, HTTPException, ValueError):
        while piece := response.read1(ERROR_BODY_BYTES - len(body)):
            body += piece
    return body


def _read_body(response: HTTPResponse, wire: Wire, max_bytes: int) -> bytes:
    announced = response.length
    body = bytearray()
    while piece := response.read(PIECE_BYTES):
        body += piece
        if len(body) > max_bytes:
            raise FetchFailed(f"too large: more than {max_bytes} bytes", is_final=True, status=200)
    if announced is not None and len(body) != announced:
        raise FetchFailed(f"short body: {len(body)} of {announced} bytes", status=200)
    # A last chunk's "0" may be the first digit of a longer number that was cut off.
    if response.chunked and wire.is_at_end:
        raise FetchFailed("short body: a chunk was cut", status=200)
    return bytes(body)


def _retry_after_s(text: str) -> float | None:
    """Return the seconds to wait by a Retry-After header, at most five minutes; None for what makes no sense."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return MAX_RETRY_AFTER_S if len(text) > 6 else min(float(text), MAX_RETRY_AFTER_S)
    try:
        moment = parsedate_to_datetime(text)
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return None
    return min(seconds, MAX_RETRY_AFTER_S) if seconds >= 0 else None


def _explained(error: Exception, deadline: Deadline) -> str:
    """Return the reason that an exception of the socket or of the parser stands for."""
    match error:
        case TimeoutError():
            return f"timed out: no whole answer in {deadline.seconds:g} s"
        case EndlessAnswer():
            return "too large: the answer does not end"
        case ssl.SSLCertVerificationError():
            return f"certificate refused: {_shown(error.verify_message)}"
        case ssl.SSLError():
            return f"no secure connection: {_shown(error.reason or 'TLS failed')}"
        case RemoteDisconnected():
            return "no answer: the connection was closed"
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionError():
            return "connection broken"
        case socket.gaierror() | UnicodeError():
            return "host not found"
        case OSError():
            return f"no connection: {_shown(error.strerror or type(error).__name__)}"
        case IncompleteRead():
            return "short body: a chunk was cut"
        case _:
            return f"not HTTP: {_shown(str(error) or type(error).__name__)}"


def _shown(text: str) -> str:
    text = printable(text.strip())
    return text if len(text) <= 80 else text[:79] + "…"
