"""Rows as fixed-size records of big-endian numbers, as FITS and VOTable store them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.export.rows import Rows, recast

NUMBERS = {
    pa.uint8(): "u1",
    pa.int8(): ">i2",
    pa.int16(): ">i2",
    pa.int32(): ">i4",
    pa.int64(): ">i8",
    pa.float16(): ">f4",
    pa.float32(): ">f4",
    pa.float64(): ">f8",
}
"""The record's number for each of Arrow's; the formats know no signed byte and no half float."""


def dtype_of(kind: pa.DataType, text_bytes: int) -> np.dtype[Any]:
    """Return the type of one column in a record; a text has ``text_bytes`` bytes."""
    if pa.types.is_fixed_size_list(kind):
        return np.dtype((NUMBERS[kind.value_type], (kind.list_size,)))
    if pa.types.is_boolean(kind):
        return np.dtype("u1")
    return np.dtype(NUMBERS.get(kind, f"S{text_bytes}"))


def without_decimals(rows: Rows) -> Rows:
    """Return the rows with decimals, such as duckdb's sums, as int64 where they are whole and fit, else as float64."""
    names = [field.name for field in rows.schema if pa.types.is_decimal(field.type)]
    return recast(rows, {name: pa.int64() if _fits_int64(rows, name) else pa.float64() for name in names})


def _fits_int64(rows: Rows, name: str) -> bool:
    if rows.schema.field(name).type.scale != 0:
        return False
    try:
        for piece in rows.pieces([name]):
            piece[name].cast(pa.int64())
    except pa.ArrowInvalid:
        return False
    return True


def fill_records(
    records: NDArray[Any],
    table: pa.Table,
    *,
    encode: Callable[[str], bytes],
    null_logical: bytes,
    null_integers: Mapping[str, int],
) -> None:
    """Copy a table's columns into the records' fields of the same names.

    A null is NaN among floats, ``null_logical`` among logicals, no bytes among texts, and a column's own of
    ``null_integers`` among integers. Raises InputError where a number would be taken for a null, or a null for one.
    """
    for name in table.column_names:
        column = table[name].combine_chunks()
        if pa.types.is_boolean(column.type):
            letters = np.where(_numpy(pc.fill_null(column, False)), ord("T"), ord("F"))
            records[name] = np.where(_numpy(pc.is_null(column)), null_logical[0], letters)
        elif pa.types.is_fixed_size_list(column.type):
            records[name] = _vectors(name, column)
        elif pa.types.is_integer(column.type):
            records[name] = _numpy(pc.fill_null(column, 0))
            null = null_integers.get(name)
            if null is not None and (records[name] == null).any():
                raise InputError(
                    f"column {name!r} holds {null}, which would stand for a null; leave it out, or write Parquet"
                )
            records[name][_numpy(pc.is_null(column))] = null or 0
        elif pa.types.is_floating(column.type):
            records[name] = _numpy(column)
        else:
            records[name] = [b"" if text is None else encode(text) for text in column.to_pylist()]


def _vectors(name: str, column: pa.FixedSizeListArray) -> NDArray[Any]:
    flat = column.flatten()  # without those of null vectors
    if flat.null_count and not pa.types.is_floating(flat.type):
        raise InputError(
            f"column {name!r} has nulls in its vectors, for which there is no number; leave it out, or write Parquet"
        )
    values = _numpy(flat)
    values_NK = np.full((len(column), column.type.list_size), np.nan if values.dtype.kind == "f" else 0, values.dtype)
    values_NK[_numpy(pc.is_valid(column))] = values.reshape(-1, column.type.list_size)
    return values_NK


def _numpy(column: pa.Array) -> NDArray[Any]:
    array: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return array
