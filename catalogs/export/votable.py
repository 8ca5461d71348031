"""A VOTable with its rows as BINARY2: big-endian records in base64, each led by the bits of its nulls."""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from skymetal.catalogs.export.records import dtype_of, fill_records, without_decimals
from skymetal.catalogs.export.rows import Rows
from skymetal.catalogs.votable import votable_around

LINE_BYTES = 57 * 1024
"""Of the records, a line of base64: a multiple of 3, so that no line is padded but the last."""
_NULLS = "bits of nulls"
_NULL_LOGICAL = b"?"


def write_votable(file: BinaryIO, rows: Rows) -> None:
    """Write the rows as one VOTable; the same rows give the same bytes.

    Raises InputError for a type that VOTable has no word for, naming the column.
    """
    rows = without_decimals(rows)
    sizes = rows.text_sizes()
    before, after = votable_around(
        rows.schema, name=rows.name, info=rows.properties, num_rows=rows.num_rows, text_sizes=sizes
    )
    columns = [(field.name, dtype_of(field.type, 2 * sizes.get(field.name, 0))) for field in rows.schema]
    dtype = np.dtype([(_NULLS, "u1", (-(-len(columns) // 8),)), *columns])
    file.write(f'{before}<DATA>\n<BINARY2>\n<STREAM encoding="base64">\n'.encode())
    for line in _lines(rows, dtype):
        file.write(binascii.b2a_base64(line))
    file.write(f"</STREAM>\n</BINARY2>\n</DATA>\n{after}".encode())


def _lines(rows: Rows, dtype: np.dtype[Any]) -> Iterator[bytes]:
    """Yield the records' bytes in pieces of LINE_BYTES."""
    rest = b""
    for piece in rows.pieces():
        records = np.empty(piece.num_rows, dtype)
        records[_NULLS] = _null_bits(piece)
        fill_records(records, piece, encode=_ucs2, null_logical=_NULL_LOGICAL, null_integers={})
        data = rest + records.tobytes()
        whole = len(data) // LINE_BYTES * LINE_BYTES
        for start in range(0, whole, LINE_BYTES):
            yield data[start : start + LINE_BYTES]
        rest = data[whole:]
    if rest:
        yield rest


def _null_bits(piece: pa.Table) -> NDArray[np.uint8]:
    is_null_NK = np.stack([pc.is_null(column, nan_is_null=False).to_numpy() for column in piece.columns], axis=1)
    return np.packbits(is_null_NK, axis=1)


def _ucs2(text: str) -> bytes:
    return text.encode("utf-16-be")
