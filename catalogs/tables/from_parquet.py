"""Parquet survey tables, a few megabytes of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

BATCH_VALUES = 4 << 20
"""Rows times columns held at a time."""
MAX_BATCH_ROWS = 1 << 16
_COLUMN_BUFFER_BYTES = 1 << 18


def parquet_schema(path: Path) -> pa.Schema:
    """Return the scalar columns, by the types they are given as; see :func:`_plain_type`.

    Nested columns, lists and whatever else is not one number, text or time a row are left out, as the vector columns
    of FITS are. Columns of bytes are read whole here: where all are UTF-8 they are text, which some writers do not
    say, else they are left out.
    """
    with _open(path) as file:
        plain = _plain_schema(file)
        odd = [field.name for field in file.schema_arrow if _is_bytes(field.type) and not _is_text(file, field.name)]
    return pa.schema([field for field in plain if field.name not in odd])


def parquet_tables(path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows, a part of a row group at a time, in the types of ``schema``."""
    with _open(path) as file:
        if [field for field in _plain_schema(file) if field.name in schema.names] != list(schema):
            raise ValueError("its columns changed while it was being read")
        for batch in _batches(file, schema.names):
            columns = [_to_plain(batch.column(field.name), field.type) for field in schema]
            yield pa.Table.from_arrays(columns, schema=schema)


def _open(path: Path) -> pq.ParquetFile:
    # Through a buffer a column, so that a row group of a gigabyte is not read whole.
    return pq.ParquetFile(path, buffer_size=_COLUMN_BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True)


def _batches(file: pq.ParquetFile, names: list[str]) -> Iterator[pa.RecordBatch]:
    num_rows = max(1, min(MAX_BATCH_ROWS, BATCH_VALUES // max(1, len(names))))
    return cast(Iterator[pa.RecordBatch], file.iter_batches(batch_size=num_rows, columns=names, use_threads=False))


def _is_bytes(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        return _is_bytes(type_.value_type)
    return bool(pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_binary_view(type_))


def _is_text(file: pq.ParquetFile, name: str) -> bool:
    for batch in _batches(file, [name]):
        try:
            _to_plain(batch.column(name), pa.string())
        except pa.ArrowInvalid:
            return False
    return True


def _plain_schema(file: pq.ParquetFile) -> pa.Schema:
    types = ((field.name, _plain_type(field.type)) for field in file.schema_arrow)
    return pa.schema([(name, type_) for name, type_ in types if type_ is not None])


def _plain_type(type_: pa.DataType) -> pa.DataType | None:
    """Return the type a column is given as, None where it is left out.

    Text of every encoding, and bytes, which may be text, become string, half floats float32, decimals (of duckdb and
    SQL exports) integers where they are whole and fit, text where they are whole and do not, else float64.
    """
    if pa.types.is_dictionary(type_):
        return _plain_type(type_.value_type)
    is_text = pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)
    if is_text or _is_bytes(type_):
        return pa.string()
    if pa.types.is_float16(type_):
        return pa.float32()
    if pa.types.is_decimal(type_):
        whole = pa.int64() if type_.precision <= 18 else pa.string()
        return whole if type_.scale == 0 else pa.float64()
    is_kept = (
        pa.types.is_integer(type_)
        or pa.types.is_floating(type_)
        or pa.types.is_boolean(type_)
        or pa.types.is_timestamp(type_)
        or pa.types.is_date(type_)
        or pa.types.is_null(type_)
    )
    return type_ if is_kept else None


def _to_plain(column: pa.Array, type_: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column if column.type == type_ else pc.cast(column, type_)
