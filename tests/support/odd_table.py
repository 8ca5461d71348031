"""A table with every type an export has to carry, with nulls and extremes in it, and words that need care."""

from __future__ import annotations

import math

import pyarrow as pa

from skymetal.catalogs.export.rows import Rows, rows_of_table

FLOAT16_VECTOR = pa.list_(pa.float16(), 3)


def _field(name: str, kind: pa.DataType, **words: str) -> pa.Field:
    return pa.field(name, kind, metadata=words or None)


SCHEMA = pa.schema(
    [
        pa.field("object_id", pa.int64(), nullable=False, metadata={"ucd": "meta.id;meta.main"}),
        _field("ra", pa.float64(), unit="deg", ucd="pos.eq.ra;meta.main", description="ICRS right ascension"),
        _field("oh_p50", pa.float32(), unit="dex", ucd="phys.abund.Z", description="12+log(O/H): " + "long " * 30),
        _field("short", pa.int16()),
        _field("byte", pa.int8()),
        _field("unsigned", pa.uint8()),
        _field("flags", pa.int32(), description="1 & 2 < 4"),
        _field("big", pa.int64()),
        _field("is_it", pa.bool_()),
        _field("half", pa.float16()),
        _field("text", pa.string()),
        pa.field("embedding", FLOAT16_VECTOR),
    ]
)
COLUMNS = {
    "object_id": [-(2**63) + 1, 0, 2**63 - 1, 1237648720716497094],
    "ra": [0.1, 359.99999999999994, None, math.nan],
    "oh_p50": [8.1, None, math.inf, 1e-7],
    "short": [-32767, None, 32767, 0],
    "byte": [-128, None, 127, 0],
    "unsigned": [0, None, 255, 1],
    "flags": [33, None, 2**31 - 1, 0],
    "big": [2**53 + 1, None, -1, 0],
    "is_it": [True, None, False, True],
    "half": [0.5, None, 65504.0, -0.0],
    "text": ["one", None, "", 'a,b "c" <&>'],
    "embedding": [[0.5, 1.5, 2.5], None, [0.0, -1.0, 1.0], [1.0, 2.0, 3.0]],
}


def odd_table() -> pa.Table:
    return pa.table(COLUMNS, schema=SCHEMA)


def odd_rows() -> Rows:
    return rows_of_table(odd_table(), name="odd", properties={"skymetal_job": "a = b, é", "skymetal_run": "12ab" * 40})
