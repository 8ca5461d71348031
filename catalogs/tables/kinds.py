"""The kinds of survey table, each told by the file's name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.tables.from_csv import csv_schema, csv_tables
from skymetal.catalogs.tables.from_fits import fits_schema, fits_tables
from skymetal.catalogs.tables.from_parquet import parquet_schema, parquet_tables
from skymetal.catalogs.tables.from_votable import votable_schema, votable_tables


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How tables of one kind are read: the scalar columns first, then the rows in those types."""

    schema: Callable[[Path], pa.Schema]
    tables: Callable[[Path, pa.Schema], Iterator[pa.Table]]


_CSV = Kind(schema=csv_schema, tables=csv_tables)
_FITS = Kind(schema=fits_schema, tables=fits_tables)
_PARQUET = Kind(schema=parquet_schema, tables=parquet_tables)
_VOTABLE = Kind(schema=votable_schema, tables=votable_tables)
_KINDS = {
    ".csv": _CSV,
    ".csv.gz": _CSV,
    ".parquet": _PARQUET,
    ".fits": _FITS,
    ".fits.gz": _FITS,
    ".fit": _FITS,
    ".vot": _VOTABLE,
    ".votable": _VOTABLE,
    ".xml": _VOTABLE,
}


def kind_of(path: Path) -> Kind:
    """Return how to read a file; raise InputError where its name says no kind that is known."""
    for suffix, kind in _KINDS.items():
        if path.name.lower().endswith(suffix):
            return kind
    raise InputError(f"table {path} is of no known kind; its name must end in one of {', '.join(_KINDS)}")
