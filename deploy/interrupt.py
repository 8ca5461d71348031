"""Ctrl-C and SIGTERM, heard wherever they come.

Python throws away an exception that is raised while an object is being destroyed, KeyboardInterrupt too: a user who
pressed Ctrl-C at that moment would wait for the end of the job.
"""

from __future__ import annotations

import signal
from types import FrameType

_DEAF = ("__del__", "_gc_callback")
"""Functions whose exceptions are thrown away: destructors, and Dask's watch on the garbage collector."""
_AGAIN_SECONDS = 0.02


def heed_interrupts() -> None:
    """Make Ctrl-C, and SIGTERM by which a batch system stops a job, raise KeyboardInterrupt where it is heard."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, interrupt)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, as a signal's handler, where it is heard."""
    while frame is not None:
        if frame.f_code.co_name in _DEAF:
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)  # comes back as SIGALRM
            return
        frame = frame.f_back
    raise KeyboardInterrupt
