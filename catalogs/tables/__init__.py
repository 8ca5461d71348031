"""Survey tables of every kind, as a stream of Arrow tables in bounded memory."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from skymetal.catalogs.errors import InputError, first_line
from skymetal.catalogs.tables.from_csv import csv_schema, csv_tables
from skymetal.catalogs.tables.from_fits import fits_schema, fits_tables
from skymetal.catalogs.tables.from_parquet import parquet_schema, parquet_tables
from skymetal.catalogs.tables.from_votable import votable_schema, votable_tables

MAX_BATCH_ROWS = 1 << 16
BATCH_BYTES = 8 << 20
"""A batch is given when it has as many rows, or about as many bytes."""


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """How tables of one kind are read: the scalar columns first, then the rows in those types."""

    schema: Callable[[Path], pa.Schema]
    tables: Callable[[Path, pa.Schema], Iterator[pa.Table]]


_CSV = _Kind(schema=csv_schema, tables=csv_tables)
_FITS = _Kind(schema=fits_schema, tables=fits_tables)
_PARQUET = _Kind(schema=parquet_schema, tables=parquet_tables)
_VOTABLE = _Kind(schema=votable_schema, tables=votable_tables)
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


@dataclass(frozen=True, kw_only=True)
class SurveyTable:
    """One survey table: its scalar columns, known, and its rows, still on disk."""

    path: Path
    schema: pa.Schema
    num_bytes: int

    def batches(self) -> Iterator[pa.Table]:
        """Yield the rows in order, at most 65 536 at a time, however large the file is.

        A missing value is null, whatever the kind: NaN and empty text become null too.
        Raises InputError where the rows are not what the header promised.
        """
        with _told_of(self.path):
            for table in _regroup(_kind(self.path).tables(self.path, self.schema)):
                yield _null_missing(table)


def open_table(path: Path) -> SurveyTable:
    """Look at one survey table: what columns it has, and their types. Its kind is told by its name.

    Only the header is read; of a CSV the whole file, since a later row may decide a type, and a .fits.gz is unpacked.
    Columns that hold no single value a row (vectors, lists, nested and complex ones) are left out.
    Raises InputError where the file is missing, empty, or not what its name says.
    """
    if not path.exists():
        raise InputError(f"table {path} does not exist; check the path")
    if not path.is_file():
        raise InputError(f"table {path} is not a file; give a table, or a folder or pattern of tables")
    kind = _kind(path)
    with _told_of(path):
        schema = kind.schema(path)
        num_bytes = path.stat().st_size
        if not schema.names:
            raise ValueError("it has no column that holds one number or text a row")
    repeated = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if repeated:
        raise InputError(f"table {path} has more than one column {repeated[0]!r}; keep one of them")
    return SurveyTable(path=path, schema=schema, num_bytes=num_bytes)


def read_table(path: Path) -> pa.Table:
    """Read one survey table whole, into memory: for small ones. See :func:`open_table`."""
    table = open_table(path)
    return pa.concat_tables([table.schema.empty_table(), *table.batches()])


def find_tables(names: Sequence[str]) -> list[Path]:
    """Return the files that the names stand for, sorted, none twice.

    A name is a file, a pattern (``*``, ``?``, ``[…]``, ``**``), a folder with its subfolders, or a HATS catalogue,
    of which the Parquet files of its dataset are taken.
    Raises InputError for a name that stands for nothing, and for any file that is no survey table: to pass over
    one would be to lose its rows without a word.
    """
    found: dict[str, Path] = {}
    for name in names:
        for path in _expand(name):
            real = os.path.realpath(path)
            if real in found:
                continue
            if not path.is_file():
                raise InputError(f"table {path} is not a regular file; remove it, or name the tables one by one")
            _kind(path)
            found[real] = path
    return sorted(found.values())


def _expand(name: str) -> Iterator[Path]:
    path = Path(name)
    if not name.strip() or "\0" in name:
        raise InputError(f"{name!r} names no table; give a file, a folder or a pattern")
    if os.path.lexists(path):
        matches = [path]
    elif has_magic(name):
        matches = _matching(path)
    else:
        raise InputError(f"table {name} does not exist; check the path")
    catalogues = {match for match in matches if _is_hats(match)}
    for match in matches:
        if catalogues.isdisjoint(match.parents):
            yield from _in_folder(match) if match.is_dir() else [match]


def _matching(pattern: Path) -> list[Path]:
    """Return what matches, as a shell would: a wildcard matches no hidden name, and ``**`` follows no link."""
    try:
        root = Path(pattern.anchor)
        matches = sorted(root.glob(str(pattern.relative_to(root))))
    except (OSError, ValueError, NotImplementedError) as error:
        raise InputError(f"the pattern {pattern} cannot be used: {first_line(error)}") from error
    literal = set(pattern.parts)
    matches = [path for path in matches if not any(part.startswith(".") for part in set(path.parts) - literal)]
    if not matches:
        raise InputError(f"no table matches the pattern {pattern}; check the path")
    return matches


def _in_folder(folder: Path) -> list[Path]:
    """Return every file below a folder; each folder is entered once, since a link may lead back to it."""
    files: list[Path] = []
    waiting, seen = [folder], set()
    while waiting:
        here = waiting.pop()
        if os.path.realpath(here) in seen:
            continue
        seen.add(os.path.realpath(here))
        if _is_hats(here):
            files += _hats_files(here)
            continue
        try:
            entries = list(here.iterdir())
        except OSError as error:
            raise InputError(f"folder {here} cannot be read: {error.strerror}") from error
        waiting += [entry for entry in entries if entry.is_dir()]
        files += [entry for entry in entries if not entry.is_dir()]
    if not files:
        raise InputError(f"folder {folder} holds no table; give one with survey tables")
    return files


def _is_hats(path: Path) -> bool:
    has_properties = (path / "hats.properties").is_file() or (path / "properties").is_file()
    return has_properties and (path / "dataset").is_dir()


def _hats_files(catalogue: Path) -> list[Path]:
    """Return the data files: whatever stands below Npix=…, or is it. The rest is metadata, margins and read-mes."""
    dataset = catalogue / "dataset"
    files = [
        path
        for path in dataset.rglob("*.parquet")
        if re.search(r"Npix=\d+", str(path.relative_to(dataset)))
        and not any(part.startswith((".", "_")) for part in path.relative_to(dataset).parts)
        and path.is_file()
    ]
    if not files:
        raise InputError(f"HATS catalogue {catalogue} holds no Parquet file in dataset/; is it complete?")
    return files


def _kind(path: Path) -> _Kind:
    for suffix, kind in _KINDS.items():
        if path.name.lower().endswith(suffix):
            return kind
    raise InputError(f"table {path} is of no known kind; its name must end in one of {', '.join(_KINDS)}")


@contextmanager
def _told_of(path: Path) -> Iterator[None]:
    """Turn whatever reading a table can raise into the one error that names the file."""
    try:
        yield
    except InputError:
        raise
    except (
        pa.ArrowException,
        ArithmeticError,
        OSError,
        EOFError,
        KeyError,
        TypeError,
        ValueError,
        MemoryError,
        zlib.error,
    ) as error:
        raise InputError(f"table {path} cannot be read: {first_line(error)[:300]}") from error


def _regroup(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Join what a reader gives in crumbs, and cut what it gives in lumps: work on a batch has a price of its own."""
    waiting: list[pa.Table] = []
    for table in tables:
        for start in range(0, table.num_rows, MAX_BATCH_ROWS):
            piece = table.slice(start, MAX_BATCH_ROWS)
            num_rows = sum(other.num_rows for other in waiting) + piece.num_rows
            if waiting and (num_rows > MAX_BATCH_ROWS or sum(other.nbytes for other in waiting) >= BATCH_BYTES):
                yield pa.concat_tables(waiting).combine_chunks()
                waiting = []
            waiting.append(piece)
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def _null_missing(table: pa.Table) -> pa.Table:
    columns = [_null_in(column, field.type) for column, field in zip(table.columns, table.schema, strict=True)]
    return pa.Table.from_arrays(columns, schema=table.schema)


def _null_in(column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_floating(type_):
        is_missing = pc.is_nan(column)
    elif pa.types.is_string(type_):
        is_missing = pc.equal(column, "")
    else:
        return column
    return pc.if_else(is_missing, pa.scalar(None, type_), column) if pc.any(is_missing).as_py() else column
