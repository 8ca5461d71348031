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
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import cast
from urllib.parse import SplitResult, urljoin, urlsplit

from skymetal.catalogs.web.answers import FetchFailed, explained, read_answer, shown
from skymetal.catalogs.web.connection import Deadline, EndlessAnswer, Wire, connect
from skymetal.catalogs.web.pace import Pacer

MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)


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
        raise FetchFailed(f"not a web address: {shown(url)}", is_final=True)
    return address._replace(fragment="")


def _redirected(address: SplitResult, location: str) -> SplitResult:
    """Return where the service sends us, if that is its own host, on the same port or from http to https."""
    try:
        target = _split(urljoin(address.geturl(), location))
    except (FetchFailed, ValueError):
        raise FetchFailed(f"redirected to no web address: {shown(location)}", is_final=True) from None
    if target.hostname != address.hostname:
        raise FetchFailed(f"redirected to another host: {shown(target.hostname or '')}", is_final=True)
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
                body = read_answer(response, wire, max_bytes)
                is_whole_known = response.chunked or response.headers.get("Content-Length") is not None
                return Fetched(url=address.geturl(), body=body, is_whole_known=is_whole_known)
    except (OSError, HTTPException, ValueError) as error:
        is_final = isinstance(error, ssl.SSLCertVerificationError | EndlessAnswer)
        raise FetchFailed(explained(error, deadline), is_final=is_final) from error


def _request(address: SplitResult, user_agent: str) -> bytes:
    if not (user_agent.isascii() and user_agent.isprintable()):
        raise ValueError(f"the user agent must be printable ASCII, got {user_agent!r}")
    target = f"{address.path or '/'}{'?' if address.query else ''}{address.query}"
    return (
        f"GET {target} HTTP/1.1\r\nHost: {address.netloc}\r\nUser-Agent: {user_agent}\r\n"
        "Accept: */*\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
    ).encode("ascii")
