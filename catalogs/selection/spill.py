"""Sorting more rows than memory holds: sorted runs on disk, then one range of the keys at a time.

A spill is a Parquet file of runs: each run, as much as memory should hold, is sorted by the keys and cut into row
groups, so that a row group spans a narrow range of the keys and its statistics say which. To merge, the order is
cut into key ranges as large as a run; for each one, the row groups that reach into it are read, filtered and sorted.
Ties keep the order of the spills. The rows of equal keys are always in one range.

This rather than a database's ORDER BY: names that differ in case only, types and ties come out as they went in, and
the memory is ours to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from math import isqrt
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

MIN_RUN_BYTES, MAX_RUN_BYTES = 16 << 20, 128 << 20
ROWS_A_GROUP = 8192
ROWS_A_SAMPLE = 64

Key = tuple[int, ...]


class SpillWriter:
    """Writes one spill: add tables, then say what they were. Leaving the block by an error leaves no usable file."""

    def __init__(self, file: BinaryIO, schema: pa.Schema, keys: Sequence[str], *, run_bytes: int) -> None:
        self._writer = pq.ParquetWriter(file, schema, compression="lz4", use_dictionary=False, write_page_checksum=True)
        self._keys = keys
        self._run_bytes = run_bytes
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0

    def __enter__(self) -> SpillWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def add(self, table: pa.Table) -> None:
        """Take some rows; they are written once there are enough for a run."""
        if table.num_rows:
            self._waiting.append(table)
            self._waiting_bytes += table.nbytes
            if self._waiting_bytes >= self._run_bytes:
                self._flush()

    def finish(self, notes: Mapping[str, str]) -> None:
        """Write what waits, and keep ``notes`` in the file's metadata."""
        if self._waiting:
            self._flush()
        self._writer.add_key_value_metadata(dict(notes))

    def _flush(self) -> None:
        run = pa.concat_tables(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        run = run.combine_chunks()
        order = _order(run, self._keys)
        for start in range(0, len(order), ROWS_A_GROUP):  # a sorted copy of the whole run would be one more in memory
            self._writer.write_table(run.take(pa.array(order[start : start + ROWS_A_GROUP])))


def run_bytes(total_bytes: int) -> int:
    """Return how large runs and key ranges should be for so much to sort.

    A range reads a row group or so of every run, though it needs only a part of it: with runs that grow as the root
    of the whole, everything is read a few times over, be it 1 or 20 GB.
    """
    return max(MIN_RUN_BYTES, min(isqrt(total_bytes << 19), MAX_RUN_BYTES))


def sort_table(table: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Return the rows in the order of integer keys; ties stay as they are."""
    return table.combine_chunks().take(pa.array(_order(table, keys)))


def read_notes(path: Path) -> dict[str, str]:
    """Return what was said of a spill when it was finished."""
    with pq.ParquetFile(path) as file:
        notes = file.metadata.metadata or {}
    return {key.decode(): value.decode() for key, value in notes.items()}


def merge_spills(
    paths: Sequence[Path], schema: pa.Schema, keys: Sequence[str], *, range_bytes: int
) -> Iterator[pa.Table]:
    """Yield the rows of all spills in the order of their keys, a key range at a time.

    Memory: a few times ``range_bytes``, and a quarter of a byte a row. Raises OSError for a damaged spill.
    """
    groups = [group for index, path in enumerate(paths) for group in _row_groups(path, index, keys[0])]
    num_ranges = -(-sum(group.num_bytes for group in groups) // range_bytes)
    bounds = _bounds(paths, groups, keys, num_ranges) if num_ranges > 1 else []
    for low, high in pairwise([None, *bounds, None]):
        reaching = [
            group
            for group in groups
            if (low is None or group.high >= low[0]) and (high is None or group.low <= high[0])
        ]
        pieces = [schema.empty_table()]
        for spill, members in groupby(reaching, key=lambda group: group.spill):
            with _open(paths[spill]) as file:
                for group in members:
                    table = file.read_row_group(group.group)
                    inside_N = np.ones(table.num_rows, dtype=np.bool_)
                    if low is not None:
                        inside_N &= _at_least(table, keys, low)
                    if high is not None:
                        inside_N &= ~_at_least(table, keys, high)
                    pieces.append(table.filter(pa.array(inside_N)).replace_schema_metadata(None))
        yield sort_table(pa.concat_tables(pieces), keys)


@dataclass(frozen=True)
class _RowGroup:
    spill: int
    group: int
    low: int
    high: int
    num_bytes: int


def _order(table: pa.Table, keys: Sequence[str]) -> NDArray[np.int64]:
    return np.lexsort([table[key].to_numpy() for key in reversed(keys)])


def _open(path: Path) -> pq.ParquetFile:
    return pq.ParquetFile(path, page_checksum_verification=True)


def _row_groups(path: Path, spill: int, key: str) -> Iterator[_RowGroup]:
    with _open(path) as file:
        column = file.schema_arrow.names.index(key)
        for group in range(file.num_row_groups):
            metadata = file.metadata.row_group(group)
            reach = metadata.column(column).statistics
            yield _RowGroup(spill, group, reach.min, reach.max, metadata.total_byte_size)


def _bounds(paths: Sequence[Path], groups: Sequence[_RowGroup], keys: Sequence[str], num_ranges: int) -> list[Key]:
    """Return the keys at which new ranges begin, so that all hold about the same number of rows."""
    samples = []
    for spill, members in groupby(groups, key=lambda group: group.spill):
        with _open(paths[spill]) as file:
            for group in members:
                table = file.read_row_group(group.group, columns=list(keys))
                samples.append(np.stack([table[key].to_numpy()[::ROWS_A_SAMPLE] for key in keys]))
    sample_KS = np.concatenate(samples, axis=1)
    sample_KS = sample_KS[:, np.lexsort(sample_KS[::-1])]
    places = np.linspace(0, sample_KS.shape[1], num_ranges + 1).astype(int)[1:-1]
    return sorted({tuple(int(value) for value in sample_KS[:, place]) for place in places})


def _at_least(table: pa.Table, keys: Sequence[str], bound: Key) -> NDArray[np.bool_]:
    """Tell which rows have keys that are not below a bound."""
    result_N = np.ones(table.num_rows, dtype=np.bool_)
    for key, value in zip(reversed(keys), reversed(bound), strict=True):
        column_N = table[key].to_numpy()
        result_N = (column_N > value) | ((column_N == value) & result_N)
    return result_N
