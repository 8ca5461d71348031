"""Asking a service for many pictures: what is kept first, several at once, in order, and no further than is read."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from skymetal.catalogs.web.answers import FetchFailed
from skymetal.catalogs.web.http import FetchLimits, fetch_patiently
from skymetal.catalogs.web.pace import NUM_FAILURES, Pacer, ServiceDown
from skymetal.engine.sources import Cutout
from skymetal.engine.sources.downloads import Downloads
from skymetal.engine.sources.pictures import Unsuitable

NUM_THREADS = 4
"""Slow replies must not leave turns unused."""
MAX_AHEAD = 64
AHEAD_BYTES = 64 << 20
# Of a service that is down or refuses us; one galaxy alone may well end a shard with any other status.
_OUTAGE = (401, 403, 407, 429, 502, 503, 504)
# Of the one galaxy, for certain. All else, where twenty galaxies in a row meet it, is the service's doing.
_ANSWERS = (400, 404, 410)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """The request for the galaxy at ra and dec, or the reason why it cannot be made."""

    object_id: int
    url: str
    ra: float = math.nan
    dec: float = math.nan
    reason: str = ""


@dataclass(kw_only=True)
class Desk:
    """Where the threads of one worker ask.

    complaint says why an answer is worth another try, "" to one that is good or would be the same again. make turns
    an answer, which is kept in the file, into the cutout of a wish; it may raise Unsuitable.
    """

    kept: Downloads
    pacer: Pacer
    limits: FetchLimits
    user_agent: str
    complaint: Callable[[bytes], str]
    make: Callable[[bytes, Path, Wish], Cutout]
    _stopping: threading.Event = field(default_factory=threading.Event)
    _has_failed: bool = False
    _answered_url: str = ""

    def serve(self, wishes: Iterable[Wish], *, cutout_bytes: int) -> Iterator[Cutout]:
        """Yield a cutout for each wish, in order. Raises ServiceDown in an outage; asks no more once it is closed."""
        num_ahead = max(NUM_THREADS, min(MAX_AHEAD, AHEAD_BYTES // cutout_bytes))
        pool = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix=self.pacer.host)
        ahead: deque[Future[Cutout]] = deque()
        try:
            for wish in wishes:
                ahead.append(pool.submit(self._cutout, wish))
                if len(ahead) > num_ahead:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
            if self._has_failed:
                self._check(1)  # galaxies that fell to an outage must not be recorded as quarantined
            self._check_address()
        finally:
            self._stopping.set()
            pool.shutdown(cancel_futures=True)

    def _cutout(self, wish: Wish) -> Cutout:
        try:
            if wish.reason:
                raise Unsuitable(wish.reason)
            data = self.kept.read(wish.object_id, wish.url, max_bytes=self.limits.max_bytes)
            if data and not self._answered_url:
                self.pacer.succeeded()  # in an earlier run; those it does not have are few
            data = data or self._fetch(wish)
            self._answered_url = wish.url
            return self.make(data, self.kept.path(wish.object_id), wish)
        except (Unsuitable, FetchFailed) as error:
            return Cutout(pixels=None, source=wish.url, reason=str(error))

    def _fetch(self, wish: Wish) -> bytes:
        self._check(NUM_FAILURES)
        self._check_address()
        try:
            data = self._ask(wish.url)
        except FetchFailed as failure:
            if not self._stopping.is_set():
                self._count(failure)
            raise
        self._count(None)
        return self.kept.write(wish.object_id, wish.url, data)

    def _ask(self, url: str) -> bytes:
        return fetch_patiently(
            url,
            limits=self.limits,
            user_agent=self.user_agent,
            pacer=self.pacer,
            accept=self.complaint,
            stopping=self._stopping,
        ).body

    def _count(self, failure: FetchFailed | None) -> None:
        self._has_failed = failure is not None and _is_outage(failure)
        if failure is None:
            self.pacer.succeeded()
        elif failure.status in _ANSWERS:
            self.pacer.declined(failure.reason)
        else:
            self.pacer.failed(failure.reason)

    def _check(self, num_failures: int) -> None:
        """Raise ServiceDown where so many galaxies in a row have failed, unless the service is found to be up."""
        try:
            self.pacer.check(num_failures)
        except ServiceDown:
            if not self._is_up():
                raise

    def _check_address(self) -> None:
        """Raise ServiceDown where twenty galaxies were declined before any was given: it is not what we take it for."""
        count, reason = self.pacer.num_declined()
        if count >= NUM_FAILURES:
            raise ServiceDown(
                f"{self.pacer.host} answered {reason!r} for each of the first {count} galaxies; check [images] "
                "service_url and, for the Legacy Surveys, layer"
            )

    def _is_up(self) -> bool:
        """Ask again for a galaxy that was answered: those left of a shard begun before may all fail for ever."""
        if not self._answered_url:
            return False
        try:
            self._ask(self._answered_url)
        except FetchFailed as failure:
            if failure.status not in _ANSWERS:
                return False
        self.pacer.succeeded()
        return True


def _is_outage(failure: FetchFailed) -> bool:
    return failure.status is None or failure.status in _OUTAGE
