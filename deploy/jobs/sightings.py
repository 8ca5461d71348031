"""Sightings: who holds a run directory, as its files show, and whether that driver is alive.

The holder rewrites its lease file every RENEW_SECONDS. Whoever is on the same machine looks for its process; whoever is
not watches the file by its own clock: no change for STALE_SECONDS, and the holder is taken for dead. The clocks of
two machines are never compared.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from skymetal.catalogs.storage import Folder

LEASES = "lease"
RENEW_SECONDS = 3.0
STALE_SECONDS = 60.0
_POLL_SECONDS = 0.5
_SAME_START_SECONDS = 2.0
_MAX_BYTES = 100_000


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
        return bool(is_same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def look(folder: Folder) -> Sighting | None:
    """Return what the newest lease says, or None where there never was one."""
    gone = ""
    # Other names are nobody's lease: a copy that somebody, or a tool that synchronises, has left there.
    while names := [name for name in folder.names(f"{LEASES}/*.json") if epoch_of(name)]:
        name = max(names, key=epoch_of)
        epoch = epoch_of(name)
        try:
            text = folder.read(name, max_bytes=_MAX_BYTES)
        except FileNotFoundError as error:
            if name != gone:
                gone = name
                continue  # a newer one has come
            return Sighting(epoch=epoch, text=str(error).encode(), holder=None, is_released=False)  # a link to nothing
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

    At once where there is none, or it is of this machine; a driver elsewhere is watched until it renews its lease, all
    of them at the same time, for patience_seconds (STALE_SECONDS) at most.
    """
    patience = STALE_SECONDS if patience_seconds is None else patience_seconds
    first = [look(folder) for folder in folders]
    alive: list[bool | None] = [is_surely_alive(seen) for seen in first]
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


def is_surely_alive(seen: Sighting | None) -> bool | None:
    """Return whether the holder is at work, None where only watching can tell."""
    if seen is None or seen.is_released:
        return False
    if seen.holder is not None and seen.holder.is_here():
        return not seen.holder.is_dead()
    return None


def epoch_of(name: str) -> int:
    """Return the epoch that a lease file is of."""
    stem = name.rpartition("/")[2].removesuffix(".json")
    return int(stem) if stem.isdecimal() else 0


def lease_name(epoch: int) -> str:
    """Return the name of an epoch's lease file in the run directory."""
    return f"{LEASES}/{epoch:09d}.json"
