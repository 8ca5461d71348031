"""Asks the decoder's process, and takes no more from it than numbers, in bounded time.

Foreign files reach C code (tile decoders, wcslib) that a crafted one may crash, hang or take over. All of it runs in
:mod:`skymetal.engine.decoding.child`, one process a worker, started when first needed and again whenever it was lost.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import skymetal
from skymetal.catalogs.errors import printable

COMMAND = (sys.executable, "-P", "-B", "-m", "skymetal.engine.decoding.child")
LENGTH = struct.Struct("<I")
DEADLINE_S = 120.0
START_DEADLINE_S = 120.0
MAX_HEADER_BYTES = 1 << 20
MAX_REASON_LENGTH = 300
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "CONDA_PREFIX")
_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


class Undecodable(Exception):
    """A file that the decoder refused, or that crashed or outlasted it. Its text is a whole reason, its kind first."""

    def __init__(self, reason: str, flags: Any = 0) -> None:
        super().__init__(reason)
        self.flags = flags if isinstance(flags, int) else 0


class _Lost(Exception):
    """The process ended, or says what cannot be understood."""


class Decoder:
    """One process and the way to it. Thread-safe: a call waits until the one before has been read to its end.

    num_calls counts the calls by function.
    """

    def __init__(self, *, command: Sequence[str] = COMMAND, deadline_s: float = DEADLINE_S) -> None:
        self.num_calls: Counter[str] = Counter()
        self._command = list(command)
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def call(
        self, function: str, arguments: dict[str, Any], *, num_answers: int, shape: tuple[int, ...] = ()
    ) -> Iterator[tuple[dict[str, Any], NDArray[np.float32] | None]]:
        """Yield the answers, (fields, array), of which there are num_answers. An array is None or has ``shape``.

        Raises Undecodable. The deadline holds for each answer. A process that ends in the midst of a call is tried a
        second time, since others may have ended it.
        """
        with self._lock:
            self.num_calls[function] += 1
            num_done, is_whole = 0, False
            try:
                for is_last in (False, True):
                    try:
                        for number, answer in enumerate(self._ask(function, arguments, num_answers, shape)):
                            if number >= num_done:
                                num_done += 1
                                yield answer
                        is_whole = True
                        return
                    except _Lost as error:
                        self._stop()
                        if is_last:
                            raise Undecodable(f"crashed the decoder: {error}") from error
            except Undecodable as error:
                is_whole = error.args[0].partition(":")[0] not in ("timed out", "crashed the decoder")
                raise
            finally:
                if not is_whole:
                    self._stop()

    def close(self) -> None:
        """End the process; a later call starts another."""
        with self._lock:
            self._stop()

    @property
    def pid(self) -> int | None:
        """The process, if there is one."""
        return self._process.pid if self._process else None

    def _ask(
        self, function: str, arguments: dict[str, Any], num_answers: int, shape: tuple[int, ...]
    ) -> Iterator[tuple[dict[str, Any], NDArray[np.float32] | None]]:
        if self._process is not None and self._process.poll() is not None:
            self._stop()
        if self._process is None:
            self._start()
        # The kernel's limit is for a process whose caller is gone; the deadline of a living one comes first.
        cpu_s = math.ceil(self._deadline_s * (num_answers + 1)) + 1
        call = json.dumps({"function": function, "arguments": arguments, "cpu_s": cpu_s}).encode()
        self._write(LENGTH.pack(len(call)) + call, time.monotonic() + self._deadline_s)
        for _ in range(num_answers):
            kind, header, array = self._receive(shape)
            if kind != "answer" or not isinstance(header.get("fields"), dict):
                raise _Lost("it sent no proper answer")
            yield header["fields"], array
        if self._receive(shape)[0] != "end":
            raise _Lost("it sent more than was asked for")

    def _receive(self, shape: tuple[int, ...]) -> tuple[str, dict[str, Any], NDArray[np.float32] | None]:
        deadline = time.monotonic() + self._deadline_s
        (length,) = LENGTH.unpack(self._read(LENGTH.size, deadline))
        if length > MAX_HEADER_BYTES:
            raise _Lost("it sent no proper answer")
        try:
            header = json.loads(self._read(length, deadline))
        except (ValueError, RecursionError) as error:
            raise _Lost("it sent no proper answer") from error
        if not isinstance(header, dict):
            raise _Lost("it sent no proper answer")
        if header.get("kind") == "refused":
            reason = as_reason(header.get("reason")) or "refused: the decoder did not say why"
            raise Undecodable(reason, header.get("flags"))
        if "shape" not in header:
            return str(header.get("kind")), header, None
        if header["shape"] != list(shape):
            raise _Lost("it sent an array of another shape")
        data = self._read(4 * math.prod(shape), deadline)
        return str(header.get("kind")), header, np.frombuffer(data, "<f4").reshape(shape)

    def _start(self) -> None:
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ} | _ONE_THREAD
        places = [str(Path(str(skymetal.__file__)).parent.parent), os.environ.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, places))
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # an interrupt from the keyboard is the caller's to handle
        )
        atexit.register(self._stop_at_exit, os.getpid())
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            os.set_blocking(_descriptor(pipe), False)
        try:
            deadline = time.monotonic() + START_DEADLINE_S
            (length,) = LENGTH.unpack(self._read(LENGTH.size, deadline))
            self._read(min(length, MAX_HEADER_BYTES), deadline)
        except (_Lost, Undecodable) as error:
            errors = self._stop()
            last = (errors.decode(errors="replace").strip().splitlines() or [str(error)])[-1]
            raise RuntimeError(f"the process that decodes FITS files does not start: {printable(last)}") from error

    def _stop(self) -> bytes:
        """Kill the process; return what it had to say when it did not start."""
        process, self._process = self._process, None
        atexit.unregister(self._stop_at_exit)
        if process is None:
            return b""
        process.kill()
        process.wait()
        errors = process.stderr.read() if process.stderr else None
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                pipe.close()
        return errors or b""

    def _stop_at_exit(self, owner: int) -> None:
        if owner == os.getpid():  # not in a fork of it, for which the process goes on
            self._stop()

    def _read(self, num_bytes: int, deadline: float) -> bytearray:
        process = self._running()
        descriptor, data = _descriptor(process.stdout), bytearray(num_bytes)
        view, done = memoryview(data), 0
        while done < num_bytes:
            self._wait(descriptor, select.POLLIN, deadline)
            try:
                count = os.readv(descriptor, [view[done:]])
            except BlockingIOError:
                continue
            if count == 0:
                raise _Lost(_how_it_ended(process))
            done += count
        return data

    def _write(self, data: bytes, deadline: float) -> None:
        process = self._running()
        descriptor, view = _descriptor(process.stdin), memoryview(data)
        while view:
            self._wait(descriptor, select.POLLOUT, deadline)
            try:
                view = view[os.write(descriptor, view) :]
            except BlockingIOError:
                continue
            except BrokenPipeError as error:
                raise _Lost(_how_it_ended(process)) from error

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise _Lost("it was closed")
        return self._process

    def _wait(self, descriptor: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise Undecodable(f"timed out: the decoder took more than {self._deadline_s:g} s")


_DECODERS: dict[int, Decoder] = {}


def shared_decoder() -> Decoder:
    """Return this process's decoder. One that came through a fork belongs to the parent."""
    return _DECODERS.setdefault(os.getpid(), Decoder())


def as_reason(text: Any) -> str:
    """Return a reason that the decoder gave, fit to be printed."""
    return printable(text)[:MAX_REASON_LENGTH] if isinstance(text, str) else ""


def _descriptor(pipe: Any) -> int:
    return int(pipe.fileno())


def _how_it_ended(process: subprocess.Popen[bytes]) -> str:
    try:
        code = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return "it closed its end"
    return signal.Signals(-code).name if code < 0 else f"it ended with exit code {code}"
