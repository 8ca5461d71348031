"""What an export writes: columns, their words, and rows that come a piece at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from skymetal.catalogs.catalog import Catalog
from skymetal.catalogs.errors import InputError, find_columns

MAX_ROWS_A_PIECE = 1 << 16
CELLS_A_PIECE = 1 << 21


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A table that need not fit into memory. ``tables`` reads it, or some of its columns, from the start."""

    name: str
    schema: pa.Schema
    num_rows: int
    properties: Mapping[str, str]
    tables: Callable[[Sequence[str]], Iterable[pa.Table]]

    @property
    def rows_a_piece(self) -> int:
        """How many rows are worked on at a time; fewer where a column holds vectors."""
        kinds = [field.type for field in self.schema]
        num_cells = sum(kind.list_size if pa.types.is_fixed_size_list(kind) else 1 for kind in kinds)
        return max(1, min(MAX_ROWS_A_PIECE, CELLS_A_PIECE // num_cells))

    def pieces(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield all rows in order, ``rows_a_piece`` at a time or fewer."""
        step = self.rows_a_piece
        for table in self.tables(self.schema.names if columns is None else columns):
            for start in range(0, table.num_rows, step):
                yield table.slice(start, step)

    def text_sizes(self) -> dict[str, int]:
        """Return the bytes (UTF-8) of the longest text of each column of texts, at least 1: a pass over them alone."""
        names = [field.name for field in self.schema if is_text(field.type)]
        sizes = dict.fromkeys(names, 1)
        for piece in self.pieces(names) if names else ():
            for name in names:
                sizes[name] = max(sizes[name], pc.max(pc.binary_length(piece[name])).as_py() or 0)
        return sizes


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a type is one of Arrow's strings."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def rows_of_catalog(catalog: Catalog, columns: Sequence[str] | None = None) -> Rows:
    """Return a catalogue's rows; ``columns`` in the order asked for. Raises InputError for what is not there."""
    names = find_columns(str(catalog.folder), columns, catalog.schema.names)
    return Rows(
        name=catalog.name,
        schema=pa.schema([catalog.schema.field(name) for name in names]),
        num_rows=catalog.num_rows,
        properties=catalog.properties,
        tables=catalog.iter_tables,
    )


def rows_of_table(table: pa.Table, *, name: str, properties: Mapping[str, str] | None = None) -> Rows:
    """Return the rows of a table in memory, such as a query gives."""
    return Rows(
        name=name,
        schema=table.schema,
        num_rows=table.num_rows,
        properties=properties or {},
        tables=lambda columns: [table.select(list(columns))],
    )


def recast(rows: Rows, kinds: Mapping[str, pa.DataType]) -> Rows:
    """Return the rows with some columns cast to other types, piece by piece."""
    if not kinds:
        return rows
    schema = pa.schema([field.with_type(kinds.get(field.name, field.type)) for field in rows.schema])

    def tables(columns: Sequence[str]) -> Iterator[pa.Table]:
        wanted = pa.schema([schema.field(name) for name in columns])
        return (table.cast(wanted) for table in rows.tables(columns))

    return replace(rows, schema=schema, tables=tables)


def check_columns(rows: Rows) -> None:
    """Raise InputError for no column at all, and for a name that stands twice."""
    names = rows.schema.names
    if not names:
        raise InputError("no column is asked for; name at least one")
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"column {name!r} is there twice; give each its own name")
