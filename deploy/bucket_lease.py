"""One writer at a time in a bucket: an object that says who is at work, renewed for as long as that is true.

A bucket has no locks. The object is made if it is absent, replaced only if it is still the one that was read, and taken
over when its owner is known to be dead or has not renewed it for long. Ages are told by the store's own clock. Should a
lease be lost all the same, no harm is done to the results: receipts are first come, and the same inputs give the same
bytes.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from skymetal.catalogs.errors import InputError, StorageFailed
from skymetal.catalogs.storage import FileStamp, ObjectFolder

logger = logging.getLogger(__name__)

LEASE = ".lease.json"
RENEW_SECONDS = 30.0
STALE_SECONDS = 300.0


@contextmanager
def hold_lease(folder: ObjectFolder) -> Iterator[None]:
    """Hold the lease of a run directory in a bucket for as long as the block lasts.

    Raises InputError where another process holds it, StorageFailed where it was lost meanwhile.
    """
    lease = _Lease(folder)
    lease.take()
    thread = threading.Thread(target=lease.renew_for_ever, daemon=True, name="lease")
    thread.start()
    try:
        yield
    except KeyboardInterrupt:
        if lease.is_lost:
            raise StorageFailed(f"{folder}: another process has taken over; this one stops") from None
        raise
    finally:
        lease.ended.set()
        thread.join(timeout=RENEW_SECONDS)
        lease.give_back()


class _Lease:
    def __init__(self, folder: ObjectFolder) -> None:
        self.is_lost = False
        self.ended = threading.Event()
        self._folder = folder
        self._stamp: FileStamp = ()
        self._number = 0
        self._owner = {
            "host": socket.gethostname(),
            "machine": _machine(),
            "pid": os.getpid(),
            "started": psutil.Process().create_time(),
            "token": uuid.uuid4().hex,
        }

    def take(self) -> None:
        """Become the owner. Raises InputError where another process is at work."""
        if self._folder.put_if_absent(LEASE, self._content()):
            self._stamp = self._folder.stamp(LEASE)
            return
        try:
            stamp = self._folder.stamp(LEASE)
            other = json.loads(self._folder.read(LEASE))
            age = self._folder.seconds_since_written(LEASE)
        except FileNotFoundError:
            return self.take()  # given back just now
        if not _is_dead(other) and age < STALE_SECONDS:
            raise InputError(
                f"another skymetal (process {other.get('pid')} on {other.get('host')}) is at work in {self._folder}, "
                f"and was {age:.0f} s ago; wait for it, or name another [job] run_dir. One that was killed on another "
                f"machine counts as gone after {STALE_SECONDS:.0f} s"
            )
        taken = self._folder.replace_if(LEASE, self._content(), stamp)
        if taken is None:
            return self.take()  # another was quicker, or its owner is alive after all
        self._stamp = taken
        logger.info("took over from process %s on %s, which is gone", other.get("pid"), other.get("host"))
        return None

    def renew_for_ever(self) -> None:
        """Renew until the block ends; interrupt the main thread where another has taken over."""
        last = time.monotonic()
        while not self.ended.wait(RENEW_SECONDS):
            self._number += 1
            try:
                stamp = self._folder.replace_if(LEASE, self._content(), self._stamp)
            except Exception as error:  # whatever ails it, the lease is then not renewed
                logger.warning("the lease could not be renewed: %s", error)
                if time.monotonic() - last < STALE_SECONDS:
                    continue
                stamp = None
            if stamp is None:
                self.is_lost = True
                signal.pthread_kill(
                    threading.main_thread().ident or 0, signal.SIGINT
                )  # wakes it, whatever it waits for
                return
            self._stamp, last = stamp, time.monotonic()

    def give_back(self) -> None:
        """Delete the lease, unless it is another's by now."""
        with suppress(StorageFailed, FileNotFoundError):
            if json.loads(self._folder.read(LEASE)).get("token") == self._owner["token"]:
                self._folder.remove(LEASE)

    def _content(self) -> bytes:
        return json.dumps(self._owner | {"number": self._number}).encode()


def _machine() -> str:
    """Return what names this boot of this machine, and the processes that see each other on it."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    if not boot.exists():
        return ""
    return f"{boot.read_text().strip()}-{os.stat('/proc/self/ns/pid').st_ino}"


def _is_dead(owner: dict[str, Any]) -> bool:
    """Tell whether an owner is known to be gone: a process of this machine that is not there any more."""
    if not owner.get("machine") or owner["machine"] != _machine():
        return False
    try:
        return bool(abs(psutil.Process(owner["pid"]).create_time() - owner["started"]) > 1)
    except psutil.NoSuchProcess:
        return True
