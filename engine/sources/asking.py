"""Asking a service for many pictures: what is kept first, several at once, in order, and no further than is read."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from skymetal.catalogs.web.http import FetchFailed, FetchLimits, fetch_patiently
from skymetal.catalogs.web.pace import Pacer
from skymetal.engine.sources import Cutout
from skymetal.engine.sources.downloads import Downloads
from skymetal.engine.sources.pictures import Unsuitable

NUM_THREADS = 4
"""Slow replies must not leave turns unused."""
MAX_AHEAD = 64
AHEAD_BYTES = 64 << 20
# Refusals that concern us, not the one galaxy.
_REFUSED = (401, 403, 407)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """One galaxy's request, or the reason why it cannot be made."""

    object_id: int
    url: str
    reason: str = ""


@dataclass(kw_only=True)
class Desk:
    """Where the threads of one worker ask.

    complaint says why an answer is worth another try, "" to one that is good or would be the same again. make turns
    an answer, which is kept in the file, into the cutout of a request; it may raise Unsuitable.
    """

    kept: Downloads
    pacer: Pacer
    limits: FetchLimits
    user_agent: str
    complaint: Callable[[bytes], str]
    make: Callable[[bytes, Path, str], Cutout]
    _stopping: threading.Event = field(default_factory=threading.Event)
    _has_failed: bool = False

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
                self.pacer.check()  # galaxies that fell to an outage must not be recorded as quarantined
        finally:
            self._stopping.set()
            pool.shutdown(cancel_futures=True)

    def _cutout(self, wish: Wish) -> Cutout:
        try:
            if wish.reason:
                raise Unsuitable(wish.reason)
            data = self.kept.read(wish.object_id, wish.url, max_bytes=self.limits.max_bytes)
            path = self.kept.folder.path / self.kept.name(wish.object_id)
            return self.make(data or self._fetch(wish), path, wish.url)
        except (Unsuitable, FetchFailed) as error:
            return Cutout(pixels=None, source=wish.url, reason=str(error))

    def _fetch(self, wish: Wish) -> bytes:
        self.pacer.check()
        try:
            fetched = fetch_patiently(
                wish.url,
                limits=self.limits,
                user_agent=self.user_agent,
                pacer=self.pacer,
                accept=self.complaint,
                stopping=self._stopping,
            )
        except FetchFailed as failure:
            if not self._stopping.is_set():
                self._count(failure)
            raise
        self.pacer.succeeded()
        return self.kept.write(wish.object_id, wish.url, fetched.body)

    def _count(self, failure: FetchFailed) -> None:
        """Tell the service's failures, which may be an outage, from its word that it does not have this galaxy."""
        if failure.is_final and failure.status is not None and failure.status not in _REFUSED:
            self.pacer.succeeded()
        else:
            self._has_failed = True
            self.pacer.failed(failure.reason)
