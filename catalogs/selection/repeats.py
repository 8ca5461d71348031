"""One row a galaxy: rows that only repeat another are dropped, ids that name different rows are refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError


def without_repeats(tables: Iterable[pa.Table], keys: Sequence[str]) -> Iterator[pa.Table]:
    """Yield sorted rows without those that equal the one before in every column, as overlapping files give.

    Rows with the same keys must be in one table.
    """
    for table in tables:
        same_N = np.ones(max(table.num_rows - 1, 0), dtype=np.bool_)
        for key in keys:
            column_N = table[key].to_numpy()
            same_N &= column_N[1:] == column_N[:-1]
        row_R = np.flatnonzero(same_N) + 1
        if len(row_R):
            keep_N = np.ones(table.num_rows, dtype=np.bool_)
            keep_N[row_R] = ~_are_equal(table.take(row_R - 1), table.take(row_R))
            table = table.filter(pa.array(keep_N))
        yield table


def refuse_repeats(object_id_N: NDArray[np.int64]) -> None:
    """Raise InputError where an object_id comes twice. Takes 9 bytes an id, besides the ids."""
    sorted_N = np.sort(object_id_N)
    again = sorted_N[1:][sorted_N[1:] == sorted_N[:-1]]
    if len(again):
        ids, counts = np.unique(again, return_counts=True)
        raise InputError(
            f"object_id {ids[0]} stands in {counts[0] + 1} rows that differ ({len(ids)} ids are repeated in all); "
            "give every galaxy one row"
        )


def _are_equal(one: pa.Table, other: pa.Table) -> NDArray[np.bool_]:
    """Tell which rows are the same in every column; null equals null, NaN equals NaN."""
    result_N = np.ones(one.num_rows, dtype=np.bool_)
    for a, b in zip(one.columns, other.columns, strict=True):
        if pa.types.is_nested(a.type) or pa.types.is_null(a.type):
            result_N &= np.array([repr(x) == repr(y) for x, y in zip(a.to_pylist(), b.to_pylist(), strict=True)])
            continue
        same = pc.or_(pc.fill_null(pc.equal(a, b), False), pc.and_(pc.is_null(a), pc.is_null(b)))
        if pa.types.is_floating(a.type):
            same = pc.or_(same, pc.fill_null(pc.and_(pc.is_nan(a), pc.is_nan(b)), False))
        result_N &= same.to_numpy()
    return result_N
