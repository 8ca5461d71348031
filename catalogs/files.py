"""The data files of an open catalogue: where they are, and which of them hold a stretch of the sky."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from skymetal.catalogs import hats
from skymetal.catalogs.dataset import checked_format, open_dataset
from skymetal.catalogs.region import coalesce
from skymetal.catalogs.storage import Folder

REMEDY = "delete that folder and run `skymetal publish` again"
# More ranges than these make the test of a row group dearer than the row groups that they would spare.
_MAX_RANGES = 32


@dataclass(frozen=True, kw_only=True)
class DataFiles:
    """The files of a table, in the order of their rows, with the first and last sort key of each."""

    table: Folder
    schema: pa.Schema
    names: tuple[str, ...]
    num_rows_F: NDArray[np.int64]
    first_F: NDArray[np.int64]
    last_F: NDArray[np.int64]

    @cached_property
    def dataset(self) -> ds.Dataset:
        """All rows, with the statistics of every row group at hand."""
        with self.damage_named():
            return open_dataset(self.table.arrow_path(hats.METADATA), self.schema, self.table.filesystem)

    def read(self, index: int, columns: Sequence[str]) -> pa.Table:
        """Return the rows of one file."""
        with self.damage_named():
            fragment = checked_format().make_fragment(self.table.arrow_path(self.names[index]), self.table.filesystem)
            return fragment.to_table(schema=self.schema, columns=list(columns))

    def read_all(self, columns: Sequence[str]) -> pa.Table:
        """Return all rows."""
        with self.damage_named():
            return self.dataset.to_table(columns=list(columns))

    def read_ranges(self, ranges_R2: NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
        """Return the rows in these [start, stop) ranges of the sort key, and perhaps some between them.

        Of files and row groups that hold none of them nothing is read, not even their footers.
        """
        files = [self.table.arrow_path(self.names[index]) for index in self.holding(ranges_R2)]
        key = pc.field("_healpix_29")
        ranges = coalesce(ranges_R2, _MAX_RANGES).tolist()
        is_near = reduce(or_, [(key >= start) & (key < stop) for start, stop in ranges], pc.scalar(False))
        with self.damage_named():
            near = ds.dataset(files, schema=self.schema, filesystem=self.table.filesystem, format=checked_format())
            return near.to_table(columns=list(columns), filter=is_near)

    def holding(self, ranges_R2: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return which files may hold rows in these ranges."""
        after = np.searchsorted(ranges_R2[:, 1], self.first_F, side="right")  # the first range that ends past it
        starts = np.append(ranges_R2[:, 0], np.iinfo(np.int64).max)
        return np.flatnonzero(starts[after] <= self.last_F)

    @contextmanager
    def damage_named(self) -> Iterator[None]:
        """Tell what Arrow finds wrong with a file as damage of the catalogue."""
        try:
            yield
        except (OSError, pa.ArrowInvalid) as error:
            raise RuntimeError(f"{self.table} is damaged: {error}; {REMEDY}") from error


def list_files(table: Folder, schema: pa.Schema, contents: pa.Table) -> DataFiles:
    """Return a table's data files by its version's list of contents."""
    prefix = f"{table.name}/"
    rows = [row for row in contents.to_pylist() if row["num_rows"] is not None and row["file"].startswith(prefix)]
    rows.sort(key=lambda row: (row["first"], row["last"], row["file"]))
    return DataFiles(
        table=table,
        schema=schema,
        names=tuple(row["file"].removeprefix(prefix) for row in rows),
        num_rows_F=np.array([row["num_rows"] for row in rows], np.int64),
        first_F=np.array([row["first"] for row in rows], np.int64),
        last_F=np.array([row["last"] for row in rows], np.int64),
    )
