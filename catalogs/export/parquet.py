"""One Parquet file, with the words of its columns for the Virtual Observatory in its footer (VOParquet)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.export.rows import Rows
from skymetal.catalogs.parts import PARQUET_OPTIONS
from skymetal.catalogs.votable import (
    PARQUET_CONTENT_KEY,
    PARQUET_VERSION,
    PARQUET_VERSION_KEY,
    votable_header,
)


def write_parquet(file: BinaryIO, rows: Rows) -> None:
    """Write the rows as they are; the same rows give the same bytes.

    Columns of a type that VOTable has no word for are written too; then the footer has no VOTable. Raises InputError
    for a type that Parquet cannot hold, naming the column.
    """
    for field in rows.schema:
        _check_type(field)
    footer = dict(rows.properties)
    try:
        header = votable_header(rows.schema, name=rows.name, info=rows.properties)
    except InputError:
        pass
    else:
        footer |= {PARQUET_VERSION_KEY: PARQUET_VERSION, PARQUET_CONTENT_KEY: header}
    schema = rows.schema.with_metadata(footer)
    with pq.ParquetWriter(file, schema, **PARQUET_OPTIONS) as writer:
        for group in _groups(rows):
            writer.write_table(group.cast(schema), row_group_size=group.num_rows)


def _check_type(field: pa.Field) -> None:
    try:
        pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([field])).close()
    except pa.ArrowNotImplementedError:
        raise InputError(
            f"column {field.name!r} is {field.type}, which Parquet cannot hold; leave it out, or write CSV"
        ) from None


def _groups(rows: Rows) -> Iterator[pa.Table]:
    """Yield the rows in groups of ``rows_a_piece``: a catalogue's own files may hold far fewer."""
    size = rows.rows_a_piece
    waiting: list[pa.Table] = []
    for piece in rows.pieces():
        waiting.append(piece)
        while sum(table.num_rows for table in waiting) >= size:
            table = pa.concat_tables(waiting)
            yield table.slice(0, size)
            waiting = [table.slice(size)]
    if sum(table.num_rows for table in waiting):
        yield pa.concat_tables(waiting)
