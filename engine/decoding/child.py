"""The decoder's process: it answers calls until the caller goes away, within hard limits.

A call comes as a length and JSON. Its answers go as a length, JSON and the raw bytes of one float32 array: no pickles,
so that a process which a hostile file has taken over can send the caller nothing but numbers.
"""

from __future__ import annotations

import json
import os
import resource
import select
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.errors import first_line, printable
from skymetal.catalogs.fits.cards import FitsError
from skymetal.engine.decoding.client import LENGTH
from skymetal.engine.decoding.cutout import read_cutout
from skymetal.engine.decoding.frame import cut_frame, read_footprint
from skymetal.engine.decoding.pixels import Answer, Unsuitable

MEMORY_BYTES = 4 << 30
Function = Callable[..., Iterator[Answer]]
FUNCTIONS: Mapping[str, Function] = {
    "read_cutout": read_cutout,
    "read_footprint": read_footprint,
    "cut_frame": cut_frame,
}


def serve(functions: Mapping[str, Function], *, memory_bytes: int = MEMORY_BYTES) -> None:
    """Answer calls from stdin on stdout until stdin ends."""
    calls, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # what a library prints is no answer
    threading.Thread(target=_end_with_caller, daemon=True).start()
    _limit_resources(memory_bytes)
    warnings.simplefilter("ignore")
    _send(answers, {"kind": "ready"}, None)
    os.dup2(silence, 2)
    while length := calls.read(LENGTH.size):
        call = json.loads(calls.read(*LENGTH.unpack(length)))
        _limit_time(call["cpu_s"])
        _answer(answers, functions[call["function"]], call["arguments"])


def _answer(answers: BinaryIO, function: Function, arguments: dict[str, Any]) -> None:
    try:
        for fields, array in function(**arguments):
            _send(answers, {"kind": "answer", "fields": fields}, array)
    except Exception as error:
        flags = int(error.flags) if isinstance(error, Unsuitable) else 0
        _send(answers, {"kind": "refused", "reason": printable(_reason(error))[:300], "flags": flags}, None)
    else:
        _send(answers, {"kind": "end"}, None)


def _reason(error: Exception) -> str:
    if isinstance(error, Unsuitable):
        return first_line(error)
    if isinstance(error, FitsError):
        return f"unreadable FITS: {first_line(error)}"
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, MemoryError):
        return "out of memory: the decoder may not take as much as this file needs"
    if isinstance(error, OSError) and error.strerror:
        return f"unreadable file: {error.strerror.lower()}"
    return f"unreadable FITS: {type(error).__name__}, {first_line(error)}"


def _send(answers: BinaryIO, header: dict[str, Any], array: NDArray[np.float32] | None) -> None:
    data = b""
    if array is not None:
        header["shape"] = array.shape
        data = np.ascontiguousarray(array, dtype="<f4").tobytes()
    text = json.dumps(header).encode()
    answers.write(LENGTH.pack(len(text)) + text + data)
    answers.flush()


def _end_with_caller() -> None:
    """End when stdin is closed, also in the middle of a call.

    Not by PR_SET_PDEATHSIG: the death it waits for is that of the thread that started us, and Dask's come and go.
    """
    poll = select.poll()
    poll.register(0, 0)  # that the other end hung up is always reported
    poll.poll()
    os._exit(0)


def _limit_resources(memory_bytes: int) -> None:
    for name, limit in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        _, hard = resource.getrlimit(name)
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(name, (limit, limit))


def _limit_time(cpu_s: int) -> None:
    """Have the kernel end us where neither the caller nor our own threads can any more."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(usage.ru_utime + usage.ru_stime) + cpu_s
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


if __name__ == "__main__":
    serve(FUNCTIONS)
