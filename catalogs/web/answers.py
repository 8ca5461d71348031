"""What a web server answered: whether it can be taken, and a short reason why not."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, IncompleteRead, RemoteDisconnected

from skymetal.catalogs.errors import printable
from skymetal.catalogs.web.connection import Deadline, EndlessAnswer, Wire

MAX_RETRY_AFTER_S = 300.0
PIECE_BYTES = 1 << 16
ERROR_BODY_BYTES = 1 << 12
_TRY_AGAIN = (408, 425, 429)


class FetchFailed(RuntimeError):
    """No usable answer. is_final: asking again is useless. status is that of the HTTP answer, if there was one.

    body is how an error's page begins.
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


def read_answer(response: HTTPResponse, wire: Wire, max_bytes: int) -> bytes:
    """Return the whole body of an answer with status 200; raise FetchFailed for any other answer."""
    _refuse_headers(response, max_bytes)
    return _read_body(response, wire, max_bytes)


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
        raise FetchFailed(f"compressed body: Content-Encoding is {shown(encoding)}, asked for none", status=status)
    if [value.lower() for value in transfer] not in ([], ["chunked"]) or (transfer and lengths):
        raise FetchFailed(f"not HTTP: Transfer-Encoding is {shown(', '.join(transfer))}", status=status)
    if lengths and (len(lengths) > 1 or not (lengths[0].isascii() and lengths[0].isdigit())):
        raise FetchFailed(f"not HTTP: Content-Length is {shown(', '.join(lengths))}", status=status)
    if lengths and (len(lengths[0]) > 15 or int(lengths[0]) > max_bytes):
        reason = f"too large: {shown(lengths[0])} bytes announced, at most {max_bytes} are taken"
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


def explained(error: Exception, deadline: Deadline) -> str:
    """Return the reason that an exception of the socket or of the parser stands for."""
    match error:
        case TimeoutError():
            return f"timed out: no whole answer in {deadline.seconds:g} s"
        case EndlessAnswer():
            return "too large: the answer does not end"
        case ssl.SSLCertVerificationError():
            return f"certificate refused: {shown(error.verify_message)}"
        case ssl.SSLError():
            return f"no secure connection: {shown(error.reason or 'TLS failed')}"
        case RemoteDisconnected():
            return "no answer: the connection was closed"
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionError():
            return "connection broken"
        case socket.gaierror() | UnicodeError():
            return "host not found"
        case OSError():
            return f"no connection: {shown(error.strerror or type(error).__name__)}"
        case IncompleteRead():
            return "short body: a chunk was cut"
        case _:
            return f"not HTTP: {shown(str(error) or type(error).__name__)}"


def shown(text: str) -> str:
    """Return a server's words, safe to print and short."""
    text = printable(text.strip())
    return text if len(text) <= 80 else text[:79] + "…"
