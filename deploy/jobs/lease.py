"""The lease: at most one driver at work in a run directory, also where a file system honours no locks.

``lease/<epoch>.json`` names the holder; the highest epoch counts, and it is made by put-if-absent, so of two takers one
wins. A holder that was frozen until another one took over finds the higher epoch when it wakes, and stops.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import Folder
from skymetal.deploy.jobs import sightings
from skymetal.deploy.jobs.sightings import (
    LEASES,
    Holder,
    epoch_of,
    find_alive,
    is_surely_alive,
    lease_name,
    look,
    this_process,
)


class LeaseLost(RuntimeError):
    """Another driver has taken the run directory over; this one must not write there any more."""


class Lease:
    """A lease that this process holds, until it is released or lost."""

    def __init__(self, folder: Folder, holder: Holder, epoch: int, *, looked: float) -> None:
        self.epoch = epoch
        self.holder = holder
        self._folder = folder
        self._beat = 0
        self._looked = looked

    def renew(self) -> None:
        """Show that this process is alive. Raises LeaseLost where another one has taken over."""
        looked = _own_seconds()  # before: a process may be frozen at any line, and what it saw is as old as this
        self._refuse_if_lost()
        self._beat += 1
        # Not flushed: after the machine's end nobody renews it anyway.
        self._folder.write(lease_name(self.epoch), _content(self.holder, self._beat), flush=False)
        self._looked = looked

    def confirm(self) -> None:
        """Make sure that the lease is still held, before something is written. Raises LeaseLost.

        Costs nothing while it was renewed lately; a process that slept looks first.
        """
        if _own_seconds() - self._looked > sightings.STALE_SECONDS / 2:
            self._refuse_if_lost()

    def release(self) -> None:
        """Give it back: the next one need not wait."""
        try:
            self._refuse_if_lost()
        except LeaseLost:
            return
        self._folder.write(lease_name(self.epoch), _content(self.holder, self._beat, is_released=True))

    def _refuse_if_lost(self) -> None:
        seen = look(self._folder)
        if seen is None:  # a file server that is away shows nothing; that nobody is there is no takeover
            return
        if seen.epoch != self.epoch or seen.holder != self.holder:
            by = f" ({seen.holder})" if seen.holder is not None else ""
            raise LeaseLost(
                f"another skymetal{by} has taken {self._folder} over, as this one gave no sign of life for "
                f"{sightings.STALE_SECONDS:g} s; this one stops, the other goes on"
            )


def take_lease(folder: Folder, *, tell: Callable[[str], None]) -> Lease:
    """Take the lease of a run directory, waiting for a holder elsewhere to show whether it is alive.

    Raises InputError where it is.
    """
    holder = this_process()
    while True:
        seen = look(folder)
        if seen is not None and is_surely_alive(seen) is None:
            tell(
                f"{seen.holder or 'somebody'} was at work in {folder} and did not say that it ended; "
                f"watching for up to {sightings.STALE_SECONDS:g} s whether it is alive"
            )
        if find_alive([folder])[0].is_alive:
            seen = look(folder)
            who = seen.holder if seen is not None and seen.holder is not None else "process unknown"
            raise InputError(
                f"another skymetal ({who}) is at work in {folder}; wait for it, or name another [job] run_dir"
            )
        epoch = 1 + (seen.epoch if seen is not None else 0)
        looked = _own_seconds()
        if folder.put_if_absent(lease_name(epoch), _content(holder, 0)) and _is_highest(folder, epoch):
            break
    for name in folder.names(f"{LEASES}/*.json"):
        if epoch_of(name) < epoch:
            folder.remove(name)
    return Lease(folder, holder, epoch, looked=looked)


def _is_highest(folder: Folder, epoch: int) -> bool:
    """Tell whether a lease just made counts; one made late, below a higher one, is taken away again."""
    seen = look(folder)
    if seen is not None and seen.epoch == epoch:
        return True
    folder.remove(lease_name(epoch))
    return False


def _content(holder: Holder, beat: int, *, is_released: bool = False) -> bytes:
    return json.dumps({"holder": asdict(holder), "beat": beat, "released": is_released}, sort_keys=True).encode()


def _own_seconds() -> float:
    """Return seconds by a clock that goes on while the machine sleeps."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)
