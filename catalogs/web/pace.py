"""How fast a host may be asked by all workers together, and whether it has stopped to answer.

The state of a host is one small file on the disk that the workers share, changed under a lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from math import isfinite
from pathlib import Path

from skymetal.catalogs.errors import InputError, printable

NUM_FAILURES = 20
"""So many galaxies in a row, and it is the service that is down."""
MAX_SKEW_S = 60.0
MAX_AHEAD_S = 3600.0
QUEUE_PAUSE_S = 60.0
MAX_RECOVERY_S = 300.0
RECOVERY_TURNS = 64
LOCK_PATIENCE_S = 30.0
RECORD_BYTES = 512
# On a network disk a process's own threads do not shut each other out.
_own_threads = threading.Lock()


class ServiceDown(RuntimeError):
    """A host does not answer, or refuses us, whatever galaxy it is asked for."""


@dataclass(frozen=True, kw_only=True)
class Pacer:
    """One token bucket a host: requests start at least 1 / requests_per_second apart, whoever makes them.

    Times are wall clock, since the workers may be on several machines. A worker that dies leaves its turn unused; a
    clock that jumped and a damaged file heal themselves.
    """

    folder: Path
    host: str
    requests_per_second: float

    @property
    def path(self) -> Path:
        """The file that holds the host's state."""
        return self.folder / f"pace-{re.sub(r'[^a-zA-Z0-9.-]', '_', self.host)}.json"

    def wait(self, stopping: threading.Event | None = None) -> bool:
        """Take a turn and sleep until it has come, however long that is; False once ``stopping`` is set."""
        stopping = stopping or threading.Event()
        interval = 1 / self.requests_per_second
        turn: float | None = None
        while not stopping.is_set():
            with self._state() as state:
                now = time.time()
                if turn is None or turn < state.held_until:  # the first time, or all were told to wait meanwhile
                    turn = max(state.next_turn, now)
                    if turn > now + MAX_AHEAD_S:  # a file with turns so far ahead would be taken for damaged
                        turn = None
                    else:
                        state.next_turn = turn + interval
                # Who overslept a turn must not start together with the one after it.
                start = now + QUEUE_PAUSE_S if turn is None else max(turn, state.started + interval)
                if start <= now:
                    state.started = now
                    return True
            stopping.wait(start - now)
        return False

    def hold(self, seconds: float) -> None:
        """Let nobody start for so many seconds: the service asked for it."""
        with self._state() as state:
            state.held_until = max(state.held_until, time.time() + min(seconds, MAX_AHEAD_S / 2))
            state.next_turn = max(state.next_turn, state.held_until)

    def failed(self, reason: str) -> None:
        """Count a galaxy that could not be had for a reason that is the service's."""
        with self._state() as state:
            state.num_failures += 1
            state.reason = _short(reason)

    def succeeded(self) -> None:
        """Count a galaxy that was given: whatever failed before, the service is up, and was asked rightly."""
        with self._state() as state:
            state.num_failures = state.num_declined = 0
            state.has_given = True

    def declined(self, reason: str) -> None:
        """Count a galaxy that the service says it does not have: it is up, but until it gives one perhaps not it."""
        with self._state() as state:
            state.num_failures = 0
            if not state.has_given:
                state.num_declined += 1
                state.reason = _short(reason)

    def num_declined(self) -> tuple[int, str]:
        """Return how many galaxies were declined, and the last reason, where none was ever given; 0 where one was."""
        with self._state() as state:
            return state.num_declined, state.reason

    def check(self, num_failures: int = NUM_FAILURES) -> None:
        """Raise ServiceDown where so many galaxies in a row have failed."""
        with self._state() as state:
            if state.num_failures >= num_failures:
                count = "a galaxy" if state.num_failures == 1 else f"{state.num_failures} galaxies in a row"
                raise ServiceDown(
                    f"{self.host} failed for {count}, the last time with {state.reason!r}; it is down, cannot be "
                    "reached from here, or refuses to serve you"
                )

    def reset(self) -> None:
        """Forget the failures of an earlier run; raise InputError where the disk does not let files be locked."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._state() as state:
                state.num_failures = state.num_declined = 0
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be locked and written ({error.strerror}), but the workers share their request "
                "rate through it; name a folder on another disk"
            ) from error

    @contextmanager
    def _state(self) -> Iterator[_State]:
        """Lock the file, hand out its state, and write that back where it was changed."""
        with _own_threads:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                _lock(descriptor, self.path)
                before = os.pread(descriptor, RECORD_BYTES, 0)
                state = _decode(before, self.requests_per_second)
                try:
                    yield state
                finally:
                    after = _encode(state)
                    if after != before:
                        # One write of a fixed length: a killed worker leaves the old record or the new one.
                        os.pwrite(descriptor, after, 0)
            finally:
                os.close(descriptor)


@dataclass(kw_only=True)
class _State:
    next_turn: float = 0.0
    """The first time nobody has taken yet."""
    started: float = 0.0
    """When the last request started."""
    held_until: float = 0.0
    num_failures: int = 0
    num_declined: int = 0
    has_given: bool = False
    reason: str = ""


def _short(reason: str) -> str:
    """Return a reason in ASCII, since the record has a fixed length and JSON writes any other character as six."""
    return printable(reason).encode("ascii", errors="replace").decode()[:100]


def _encode(state: _State) -> bytes:
    return json.dumps(asdict(state)).encode().ljust(RECORD_BYTES - 1) + b"\n"


def _decode(record: bytes, requests_per_second: float) -> _State:
    if not record:
        return _State()
    now = time.time()
    try:
        values = json.loads(record)
        state = _State(**{field.name: values[field.name] for field in fields(_State)})
        times = (float(state.next_turn), float(state.started), float(state.held_until))
        counts = (state.num_failures, state.num_declined)
        is_sound = all(map(isfinite, times)) and all(isinstance(count, int) for count in counts)
        is_sound = is_sound and isinstance(state.has_given, bool) and isinstance(state.reason, str)
    except (ValueError, TypeError, KeyError):
        is_sound = False
    interval = 1 / requests_per_second
    if is_sound and max(times) <= now + MAX_AHEAD_S + interval and state.started <= now + MAX_SKEW_S:
        return state
    # Who has taken which turns is lost with the file, or with the clock: let them pass before the next one.
    return _State(next_turn=now + min(RECOVERY_TURNS * interval, MAX_RECOVERY_S), started=now)


def _lock(descriptor: int, path: Path) -> None:
    """Take the file's lock; a frozen process that holds it must not make the others wait for ever."""
    end = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise RuntimeError(
                    f"{path} has been locked for {LOCK_PATIENCE_S:g} s; is a worker of this run frozen?"
                ) from None
            time.sleep(random.uniform(0.0005, 0.005))
        else:
            return
