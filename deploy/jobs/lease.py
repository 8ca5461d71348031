"""The lease: at most one driver at work in a run directory, also where a file system honours no locks.

``lease/<epoch>.json`` names the holder; the highest epoch counts, and it is made by put-if-absent, so of two takers one
wins. The holder rewrites its file every few seconds. Whoever wants the directory from another machine watches that file
by its own clock: no change for STALE_SECONDS, and the holder is taken for dead. (The clocks of two machines are never
compared.) A holder that was frozen for so long finds the higher epoch when it wakes, and stops.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import psutil

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import Folder

LEASES = "lease"
RENEW_SECONDS = 3.0
STALE_SECONDS = 60.0
_POLL_SECONDS = 0.5
_SAME_START_SECONDS = 2.0
_MAX_BYTES = 100_000


class LeaseLost(RuntimeError):
    """Another driver has taken the run directory over; this one must not write there any more."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A process, so described that another one on any machine can tell whether it is the same."""

    host: str
    machine: str
    pid: int
    started: float
    nonce: str

    def is_here(self) -> bool:
        """Tell whether its process numbers mean anything in this process."""
        return self.machine == this_machine()

    def is_dead(self) -> bool:
        """Tell whether it is known to have ended: it is of this machine, and gone."""
        return self.is_here() and not is_running(self.pid, self.started)

    def __str__(self) -> str:
        return f"process {self.pid}" if self.is_here() else f"process {self.pid} on {self.host}"


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What stands in the lease file of the highest epoch. Without a holder: nothing that can be read."""

    epoch: int
    text: bytes
    holder: Holder | None
    is_released: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether the holder of that epoch is at work."""

    is_alive: bool
    epoch: int


@cache
def this_machine() -> str:
    """Return what is the same for two processes if each can see the other: host, boot, PID namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def this_process() -> Holder:
    """Return this process as a holder, with a fresh nonce."""
    pid = os.getpid()
    return Holder(
        host=socket.gethostname(),
        machine=this_machine(),
        pid=pid,
        started=psutil.Process(pid).create_time(),
        nonce=uuid.uuid4().hex,
    )


def is_running(pid: int, started: float) -> bool:
    """Tell whether the process of this machine that began at that time is still there."""
    try:
        process = psutil.Process(pid)
        is_same = abs(process.create_time() - started) < _SAME_START_SECONDS
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def look(folder: Folder) -> Sighting | None:
    """Return what the newest lease says, or None where there never was one."""
    while names := folder.names(f"{LEASES}/*.json"):
        epoch = _epoch(names[-1])
        try:
            text = folder.read(names[-1], max_bytes=_MAX_BYTES)
        except FileNotFoundError:
            continue  # a newer one has come
        except OSError as error:
            return Sighting(epoch=epoch, text=str(error).encode(), holder=None, is_released=False)
        try:
            content = json.loads(text)
            holder, is_released = Holder(**content["holder"]), bool(content["released"])
        except (TypeError, ValueError, KeyError, RecursionError):
            return Sighting(epoch=epoch, text=text, holder=None, is_released=False)
        return Sighting(epoch=epoch, text=text, holder=holder, is_released=is_released)
    return None


def find_alive(folders: Sequence[Folder], *, patience_seconds: float | None = None) -> list[Verdict]:
    """Tell of each run directory whether a driver is at work in it.

    At once where there is none, or it is of this machine; a driver elsewhere is watched until it renews its lease, all of
    them at the same time, for patience_seconds (STALE_SECONDS) at most.
    """
    patience = STALE_SECONDS if patience_seconds is None else patience_seconds
    first = [look(folder) for folder in folders]
    alive: list[bool | None] = [_is_surely_alive(seen) for seen in first]
    deadline = time.monotonic() + patience
    while None in alive:
        time.sleep(min(_POLL_SECONDS, patience / 4))
        is_over = time.monotonic() >= deadline  # before the look: a process that was itself frozen must look once more
        for number, (folder, seen) in enumerate(zip(folders, first, strict=True)):
            if alive[number] is None:
                now = look(folder)
                if now != seen:
                    first[number], alive[number] = now, now is not None and not now.is_released
                elif is_over:
                    alive[number] = False
    return [
        Verdict(is_alive=bool(each), epoch=seen.epoch if seen is not None else 0)
        for each, seen in zip(alive, first, strict=True)
    ]


def _is_surely_alive(seen: Sighting | None) -> bool | None:
    """Return whether the holder is at work, None where only watching can tell."""
    if seen is None or seen.is_released:
        return False
    if seen.holder is not None and seen.holder.is_here():
        return not seen.holder.is_dead()
    return None


def _epoch(name: str) -> int:
    stem = name.rpartition("/")[2].removesuffix(".json")
    return int(stem) if stem.isdecimal() else 0


def _name(epoch: int) -> str:
    return f"{LEASES}/{epoch:09d}.json"


class Lease:
    """A lease that this process holds, until it is released or lost."""

    def __init__(self, folder: Folder, holder: Holder, epoch: int) -> None:
        self.epoch = epoch
        self.holder = holder
        self._folder = folder
        self._beat = 0
        self._renewed = _own_seconds()

    def renew(self) -> None:
        """Show that this process is alive. Raises LeaseLost where another one has taken over."""
        self._refuse_if_lost()
        self._beat += 1
        # Not flushed: after the machine's end nobody renews it anyway.
        self._folder.write(_name(self.epoch), _content(self.holder, self._beat), flush=False)
        self._renewed = _own_seconds()

    def confirm(self) -> None:
        """Make sure that the lease is still held, before something is written. Raises LeaseLost.

        Costs nothing while it was renewed lately; a process that slept looks first.
        """
        if _own_seconds() - self._renewed > STALE_SECONDS / 2:
            self._refuse_if_lost()

    def release(self) -> None:
        """Give it back: the next one need not wait."""
        try:
            self._refuse_if_lost()
        except LeaseLost:
            return
        self._folder.write(_name(self.epoch), _content(self.holder, self._beat, is_released=True))

    def _refuse_if_lost(self) -> None:
        seen = look(self._folder)
        if seen is None or seen.epoch != self.epoch or seen.holder != self.holder:
            by = f" ({seen.holder})" if seen is not None and seen.holder is not None else ""
            raise LeaseLost(
                f"another skymetal{by} has taken {self._folder} over, as this one gave no sign of life for "
                f"{STALE_SECONDS:g} s; this one stops, the other goes on"
            )


def take_lease(folder: Folder, *, tell: Callable[[str], None]) -> Lease:
    """Take the lease of a run directory, waiting for a holder elsewhere to show whether it is alive.

    Raises InputError where it is.
    """
    holder = this_process()
    while True:
        seen = look(folder)
        if seen is not None and _is_surely_alive(seen) is None:
            tell(
                f"{seen.holder or 'somebody'} was at work in {folder} and did not say that it ended; "
                f"watching for up to {STALE_SECONDS:g} s whether it is alive"
            )
        if find_alive([folder])[0].is_alive:
            seen = look(folder)
            who = seen.holder if seen is not None and seen.holder is not None else "process unknown"
            raise InputError(
                f"another skymetal ({who}) is at work in {folder}; wait for it, or name another [job] run_dir"
            )
        epoch = 1 + (seen.epoch if seen is not None else 0)
        if folder.put_if_absent(_name(epoch), _content(holder, 0)) and _is_highest(folder, epoch):
            break
    for name in folder.names(f"{LEASES}/*.json"):
        if _epoch(name) < epoch:
            folder.remove(name)
    return Lease(folder, holder, epoch)


def _is_highest(folder: Folder, epoch: int) -> bool:
    """Tell whether a lease just made counts; one made late, below a higher one, is taken away again."""
    seen = look(folder)
    if seen is not None and seen.epoch == epoch:
        return True
    folder.remove(_name(epoch))
    return False


def _content(holder: Holder, beat: int, *, is_released: bool = False) -> bytes:
    return json.dumps({"holder": asdict(holder), "beat": beat, "released": is_released}, sort_keys=True).encode()


def _own_seconds() -> float:
    """Return seconds by a clock that goes on while the machine sleeps."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)
