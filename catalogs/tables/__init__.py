"""Survey tables of every kind, as a stream of Arrow tables in bounded memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from skymetal.catalogs.errors import InputError, first_line, printable
from skymetal.catalogs.storage import file_digest
from skymetal.catalogs.tables.find import NoTable as NoTable
from skymetal.catalogs.tables.find import find_tables as find_tables
from skymetal.catalogs.tables.kinds import kind_of

MAX_BATCH_ROWS = 1 << 16
BATCH_BYTES = 8 << 20
"""A batch is given when it has as many rows, or about as many bytes."""


@dataclass(frozen=True, kw_only=True)
class SurveyTable:
    """One survey table: its scalar columns, known, and its rows, still on disk."""

    path: Path
    schema: pa.Schema

    def __str__(self) -> str:
        return f"table {printable(str(self.path))}"

    def digest(self) -> str:
        """Return what names the content: the SHA-256 of the file."""
        return file_digest(self.path)

    def fingerprint(self) -> tuple[int, int]:
        """Return what changes when somebody writes to the file: its size in bytes, and its time in ns."""
        status = self.path.stat()
        return status.st_size, status.st_mtime_ns

    def batches(self) -> Iterator[pa.Table]:
        """Yield the rows in order, at most 65 536 at a time, however large the file is.

        A missing value is null, whatever the kind: NaN and empty text become null too.
        Raises InputError where the rows are not what the header promised.
        """
        with _told_of(self.path):
            for table in _regroup(kind_of(self.path).tables(self.path, self.schema)):
                yield _null_missing(table)


def open_table(path: Path) -> SurveyTable:
    """Look at one survey table: what columns it has, and their types. Its kind is told by its name.

    Only the header is read; of a CSV the whole file, since a later row may decide a type, of a Parquet file any column
    of bytes, which may be text, and a .fits.gz is unpacked.
    Columns that hold no single value a row (vectors, lists, nested and complex ones) are left out.
    Raises InputError where the file is missing, empty, or not what its name says.
    """
    if not path.exists():
        raise InputError(f"table {path} does not exist; check the path")
    if not path.is_file():
        raise InputError(f"table {path} is not a file; give a table, or a folder or pattern of tables")
    kind = kind_of(path)
    with _told_of(path):
        schema = kind.schema(path)
        if not schema.names:
            raise ValueError("it has no column that holds one number or text a row")
    repeated = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if repeated:
        raise InputError(f"table {path} has more than one column {repeated[0]!r}; keep one of them")
    return SurveyTable(path=path, schema=schema)


def read_table(path: Path) -> pa.Table:
    """Read one survey table whole, into memory: for small ones. See :func:`open_table`."""
    table = open_table(path)
    return pa.concat_tables([table.schema.empty_table(), *table.batches()])


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
