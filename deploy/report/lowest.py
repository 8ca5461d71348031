"""A few rows out of very many: those with the lowest keys."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class LowestRows:
    """The ``num_rows`` rows with the lowest keys among all that came, in bounded memory.

    Equal keys are told apart by object_id, so that the order in which rows come does not matter.
    """

    def __init__(self, num_rows: int) -> None:
        self._num_rows = num_rows
        self._num_seen = 0
        self._tables: list[pa.Table] = []
        self._keys: list[NDArray[Any]] = []
        self._limit: Any = None

    @property
    def num_seen(self) -> int:
        """How many rows came."""
        return self._num_seen

    def add(self, key_N: NDArray[Any], rows: pa.Table) -> None:
        """Take part of rows (with object_id) into account; those whose key is NaN are not counted."""
        known_N = key_N == key_N
        self._num_seen += int(np.count_nonzero(known_N))
        if self._limit is not None:
            known_N &= key_N <= self._limit  # most rows of a long catalogue go no further
        if known_N.any():
            self._keys.append(key_N[known_N])
            self._tables.append(rows.filter(pa.array(known_N)))
        if sum(map(len, self._keys)) > 2 * self._num_rows:
            self._settle()

    def table(self) -> pa.Table | None:
        """Return the rows, by key and object_id; None where none came."""
        if not self._tables:
            return None
        self._settle()
        return self._tables[0]

    def _settle(self) -> None:
        keys, table = np.concatenate(self._keys), pa.concat_tables(self._tables)
        order = np.lexsort((table["object_id"].to_numpy(), keys))[: self._num_rows]
        self._keys, self._tables = [keys[order]], [table.take(pa.array(order)).combine_chunks()]
        if len(order) == self._num_rows:
            self._limit = keys[order[-1]]
