"""What the process of a query is told, and how its end is to be understood."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from skymetal.catalogs.errors import InputError

VIEW = "catalogue"
MAX_SECONDS = 60.0
MAX_MEMORY_BYTES = 1 << 30
MAX_ROWS = 10_000_000
LEAST_MEMORY_BYTES = 512 << 20
"""What Arrow and duckdb take for themselves, and a little to work with."""
MOST_MEMORY_BYTES = 1 << 44
MOST_SECONDS = 7 * 86400.0
"""More than any query should; far more, and neither the clock nor the kernel could be told of it."""


class Ending(IntEnum):
    """How the process ends, as its exit code; all but ANSWERED with a sentence on its standard error."""

    ANSWERED = 0
    REFUSED = 10
    DAMAGED = 11
    NO_MEMORY = 12


@dataclass(frozen=True, kw_only=True)
class QueryLimits:
    """What one query may take: seconds on the clock, resident memory, and rows of its result."""

    seconds: float
    memory_bytes: int
    num_rows: int

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and math.isfinite(self.seconds)):
            raise InputError(f"max_seconds must be a positive number, got {self.seconds}")
        if self.seconds > MOST_SECONDS:
            raise InputError(f"max_seconds must be at most {MOST_SECONDS:g} (a week), got {self.seconds:g}")
        if self.memory_bytes < LEAST_MEMORY_BYTES:
            raise InputError(
                f"max_memory_bytes must be at least {LEAST_MEMORY_BYTES} (512 MiB), got {self.memory_bytes}"
            )
        if self.memory_bytes > MOST_MEMORY_BYTES:
            raise InputError(f"max_memory_bytes must be at most {MOST_MEMORY_BYTES} (16 TiB), got {self.memory_bytes}")
        if self.num_rows < 1:
            raise InputError(f"max_rows must be at least 1, got {self.num_rows}")


@dataclass(frozen=True, kw_only=True)
class QueryOrder:
    """One query over the dataset that the file ``metadata`` lists."""

    text: str
    metadata: Path
    schema: pa.Schema
    memory_bytes: int

    def to_bytes(self) -> bytes:
        """Return a line of JSON, then the schema as Arrow writes it."""
        words = {"text": self.text, "metadata": str(self.metadata), "memory_bytes": self.memory_bytes}
        return json.dumps(words).encode() + b"\n" + bytes(self.schema.serialize())


def read_order(file: BinaryIO) -> QueryOrder:
    """Return the order that a file holds."""
    words = json.loads(file.readline())
    return QueryOrder(
        text=words["text"],
        metadata=Path(words["metadata"]),
        schema=pa.ipc.read_schema(pa.py_buffer(file.read())),
        memory_bytes=words["memory_bytes"],
    )
