"""A watchdog: it ends its own process when work in it takes too long. Dask's nanny starts another worker."""

from __future__ import annotations

import faulthandler
import functools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def watch(seconds: float) -> Iterator[None]:
    """End this process, with exit code 1, if the ``with`` block is not left in time.

    It is a thread of C that ends it: code that hangs without ever letting another Python thread run is ended too.
    Several threads may each be watched; the earliest deadline counts.
    """
    key = object()
    with _lock:
        _deadlines[key] = time.monotonic() + seconds
        _arm()
    try:
        yield
    finally:
        with _lock:
            del _deadlines[key]
            _arm()


_lock = threading.Lock()
_deadlines: dict[object, float] = {}


def _arm() -> None:
    if not _deadlines:
        faulthandler.cancel_dump_traceback_later()
        return
    seconds = max(min(_deadlines.values()) - time.monotonic(), 0.001)
    faulthandler.dump_traceback_later(seconds, exit=True, file=_nowhere())


@functools.cache
def _nowhere() -> int:
    """Where the traceback goes that comes with the end: a worker shares the user's terminal."""
    return os.open(os.devnull, os.O_WRONLY)
