"""The heartbeat: what a driver does every few seconds beside its work, so that others can see it, and stop it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from dataclasses import replace
from typing import Any

from skymetal.catalogs.errors import StorageFailed
from skymetal.catalogs.storage import Folder
from skymetal.deploy.jobs import sightings
from skymetal.deploy.jobs.lease import Lease, LeaseLost
from skymetal.deploy.jobs.state import CANCEL, JobState, write_state

logger = logging.getLogger(__name__)


class Heartbeat:
    """A thread that renews the lease, keeps the state file fresh, and interrupts the work once it must stop.

    It must stop where somebody asks for it by the file CANCEL, and where the lease is lost: then ``lost`` says how.
    """

    def __init__(self, folder: Folder, lease: Lease) -> None:
        self.lost: LeaseLost | None = None
        self.is_cancelled = False
        self._folder = folder
        self._lease = lease
        self._state: JobState | None = None  # None while no step is at work
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Beat no more, and give the lease back."""
        self._end.set()
        self._thread.join(timeout=sightings.STALE_SECONDS)
        try:
            self._lease.release()
        except (OSError, StorageFailed) as error:  # the next driver finds the process gone, or watches a while
            logger.warning("the lease could not be given back: %s", error)

    def confirm(self) -> None:
        """Make sure that this process may still write. Raises LeaseLost."""
        if self.lost is not None:
            raise self.lost
        try:
            self._lease.confirm()
        except LeaseLost as lost:
            self.lost = lost
            raise

    def begin(self, state: JobState) -> None:
        """Say that a job begins; from now on CANCEL is heeded."""
        self._state = replace(state, host=socket.gethostname(), pid=os.getpid())
        self._write()

    def update(self, **changes: Any) -> None:
        """Change what the state file will say from the next beat on."""
        if self._state is not None:
            self._state = replace(self._state, **changes)

    def end(self, **changes: Any) -> None:
        """Say how the job ended; CANCEL is heeded no more. Raises LeaseLost where it is not for this process to say."""
        if self._state is None:
            return
        self._state = replace(self._state, progress=None, dashboard="", **changes)
        try:
            self._write()
        except (OSError, StorageFailed) as error:  # what the job died of, a full disk perhaps, is told by its own error
            logger.warning("the end of the job could not be recorded: %s", error)
        self._state = None

    def _write(self, *, flush: bool = True) -> None:
        with self._lock:
            if self._state is not None:
                self.confirm()
                write_state(self._folder, self._state, flush=flush)

    def _beat(self) -> None:
        while not self._end.wait(sightings.RENEW_SECONDS):
            try:
                self._lease.renew()
                # Whoever is frozen between the look at the lease and the write does harm when it wakes: no waiting for
                # the disk in between, for what the next beat replaces.
                self._write(flush=False)
                if self._state is not None and not self.is_cancelled and self._folder.exists(CANCEL):
                    self.is_cancelled = True
                    _interrupt()
            except LeaseLost as lost:
                logger.error("%s", lost)
                if self.lost is None:  # else the work found out by itself
                    self.lost = lost
                    _interrupt()
                return
            except (OSError, StorageFailed) as error:  # a full disk, a server that is away: the next beat may succeed
                logger.warning("the heartbeat could not be written: %s", error)


def _interrupt() -> None:
    """Do to the main thread what Ctrl-C does. A real signal: it wakes a thread that waits for something."""
    ident = threading.main_thread().ident
    if ident is not None:
        signal.pthread_kill(ident, signal.SIGINT)
