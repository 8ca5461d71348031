"""CSV and JSON lines: every number in the fewest digits that give it back exactly."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from skymetal.catalogs.export.rows import Rows, is_text


def write_csv(file: BinaryIO, rows: Rows) -> None:
    """Write a header line and a line a row; a null is an empty field, a list the text that JSON would have.

    Where there is one column a null is NaN or an empty text, since readers pass over a blank line.
    """
    names = rows.schema.names
    header = pa.table({field.name: pa.array([], _csv_type(field.type)) for field in rows.schema})
    pacsv.write_csv(header, file)
    for piece in rows.pieces():
        columns = [_csv_column(column) for column in piece.columns]
        if len(columns) == 1:
            columns = [_never_blank(columns[0])]
        pacsv.write_csv(pa.table(columns, names=names), file, pacsv.WriteOptions(include_header=False))


def write_json(file: BinaryIO, rows: Rows) -> None:
    """Write one JSON object a line; nulls, and numbers that are not finite, are null."""
    for piece in rows.pieces():
        parts: list[Any] = []
        for index, name in enumerate(piece.column_names):
            lead = f"{'{' if index == 0 else ', '}{json.dumps(name, ensure_ascii=False)}: "
            parts += [lead, _json_cells(piece[name].combine_chunks())]
        file.write(_bytes(pc.binary_join_element_wise(*parts, "}\n", "")))


def _bytes(lines: pa.StringArray) -> memoryview:
    """Return all texts of a new array, one after another."""
    _, offsets, data = lines.buffers()
    return memoryview(data)[: int(np.frombuffer(offsets, np.int32)[len(lines)])]


def _csv_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_float16(kind):
        return pa.float32()
    is_plain = pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or is_text(kind)
    return kind if is_plain and not pa.types.is_interval(kind) else pa.string()


def _csv_column(column: pa.ChunkedArray) -> pa.Array:
    wanted = _csv_type(column.type)
    if wanted == column.type:
        return column.combine_chunks()
    if pa.types.is_float16(column.type) or pa.types.is_dictionary(column.type):
        return column.cast(wanted).combine_chunks()
    cells = _json_cells(column.combine_chunks())
    return pc.if_else(pc.is_valid(column), cells, None)


def _never_blank(column: pa.Array) -> pa.Array:
    if column.null_count == 0:
        return column
    if pa.types.is_floating(column.type):
        return pc.fill_null(column, math.nan)
    return pc.fill_null(column.cast(pa.string()), "")


def _json_cells(column: pa.Array) -> pa.Array:
    """Return what JSON writes for each value."""
    kind = column.type
    if pa.types.is_float16(kind):
        column, kind = column.cast(pa.float32()), pa.float32()
    if pa.types.is_floating(kind):
        return pc.if_else(pc.fill_null(pc.is_finite(column), False), column.cast(pa.string()), "null")
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
        return pc.fill_null(column.cast(pa.string()), "null")
    if pa.types.is_fixed_size_list(kind):
        column, kind = column.cast(pa.list_(kind.value_type)), pa.list_(kind.value_type)
    if pa.types.is_list(kind):
        cells = pa.ListArray.from_arrays(column.offsets, _json_cells(column.values))
        inside = pc.binary_join(cells, ", ")
        return pc.if_else(pc.is_valid(column), pc.binary_join_element_wise("[", inside, "]", ""), "null")
    values = (_finite(value) for value in column.to_pylist())
    return pa.array([json.dumps(value, default=str, ensure_ascii=False) for value in values], pa.string())


def _finite(value: Any) -> Any:
    """Return a value in which what JSON has no number for is None."""
    if isinstance(value, dict):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
