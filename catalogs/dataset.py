"""Opening a catalogue's rows, with every page's checksum checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds


def open_dataset(metadata: Path | str, schema: pa.Schema, filesystem: Any = None) -> ds.Dataset:
    """Return the dataset whose row groups the file ``metadata`` lists; no other file is opened yet.

    ``schema`` is the catalogue's own: without it the folders' names would become columns.
    """
    return ds.parquet_dataset(metadata, schema=schema, filesystem=filesystem, format=checked_format())


def checked_format() -> ds.ParquetFileFormat:
    """Return how files are read: each page against its checksum, which Arrow by itself ignores."""
    checked = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    return ds.ParquetFileFormat(default_fragment_scan_options=checked)


def without_half_floats(schema: pa.Schema) -> pa.Schema:
    """Return a schema in which half floats, which duckdb does not know, are read as floats."""
    for index, field in enumerate(schema):
        if pa.types.is_fixed_size_list(field.type) and pa.types.is_float16(field.type.value_type):
            field = field.with_type(pa.list_(pa.float32(), field.type.list_size))
        elif pa.types.is_float16(field.type):
            field = field.with_type(pa.float32())
        schema = schema.set(index, field)
    return schema
