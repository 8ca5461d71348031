"""A decoder that misbehaves in every way a hostile file could make it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from skymetal.engine.decoding.child import serve
from skymetal.engine.decoding.pixels import Answer


def echo(value: float, count: int = 1) -> Iterator[Answer]:
    for number in range(count):
        yield {"value": value + number, "pid": os.getpid()}, np.full((2, 3), value + number, np.float32)


def hang() -> Iterator[Answer]:
    time.sleep(600)
    yield {}, None


def spin() -> Iterator[Answer]:
    while True:
        pass
    yield {}, None


def eat() -> Iterator[Answer]:
    hoard = [np.ones(1 << 27) for _ in range(100)]
    yield {"size": len(hoard)}, None


def crash() -> Iterator[Answer]:
    os.kill(os.getpid(), signal.SIGSEGV)
    yield {}, None


def crash_once(marker: str) -> Iterator[Answer]:
    yield {"number": 0}, None
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    yield {"number": 1}, None


def leave() -> Iterator[Answer]:
    sys.stdout.buffer.flush()
    os._exit(3)
    yield {}, None


def chatter() -> Iterator[Answer]:
    print("a library says something")
    os.write(2, b"and warns, at length" * 10_000)
    yield {"said": True}, None


def write_file(path: str) -> Iterator[Answer]:
    Path(path).write_bytes(b"x")
    yield {}, None


def fail() -> Iterator[Answer]:
    raise ValueError("a\x1b[31m line\nand another")
    yield {}, None


def wrong_shape() -> Iterator[Answer]:
    yield {}, np.zeros((9, 9), np.float32)


def too_many() -> Iterator[Answer]:
    yield {}, None
    yield {}, None


def raw_junk() -> Iterator[Answer]:
    for descriptor in range(3, 10):
        try:
            os.write(descriptor, b"\xff" * 4096)
        except OSError:
            continue
    yield {}, None


if __name__ == "__main__":
    functions = (
        echo,
        hang,
        spin,
        eat,
        crash,
        crash_once,
        leave,
        chatter,
        write_file,
        fail,
        wrong_shape,
        too_many,
        raw_junk,
    )
    serve({function.__name__: function for function in functions}, memory_bytes=2 << 30)
