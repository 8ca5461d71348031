"""What a worker and its careful process say to each other, and how: a length, then a pickle.

Pickles, because both ends run the same code on the same machine, the one started by the other.
"""

from __future__ import annotations

import pickle
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

from skymetal.engine.predict import PredictorRef

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, kw_only=True)
class CarefulOrder:
    """What the process is told first."""

    predictor: PredictorRef
    memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """The answer to a call whose prediction raised something."""

    reason: str


def send(pipe: BinaryIO, message: Any) -> None:
    """Write one message; OSError where the other end is gone."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.write(_LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def receive(pipe: BinaryIO) -> Any:
    """Return the next message; raise EOFError where the other end is gone."""
    (length,) = _LENGTH.unpack(_read(pipe, _LENGTH.size))
    return pickle.loads(_read(pipe, length))  # noqa: S301 (our own process at the other end)


def _read(pipe: BinaryIO, num_bytes: int) -> bytes:
    data = pipe.read(num_bytes)
    if len(data) < num_bytes:
        raise EOFError
    return data
