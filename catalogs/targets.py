"""The target list: one row a galaxy, in the order in which everything after it works."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError, first_line
from skymetal.catalogs.parts import PARQUET_OPTIONS
from skymetal.catalogs.selection.repeats import refuse_repeats
from skymetal.catalogs.selection.rows import GROUP_ID, HEALPIX, SKY, with_healpix
from skymetal.catalogs.selection.spill import sort_table
from skymetal.catalogs.storage import FileStamp, Folder, open_file

ROW_GROUP_SIZE = 8192
_SELECTION = b"skymetal.selection"


@dataclass(frozen=True)
class TargetList:
    """A target list on disk. It is written once, whole, and never changed."""

    folder: Folder
    name: str

    def __str__(self) -> str:
        return f"{self.folder}/{self.name}"

    def __reduce__(self) -> tuple[type[TargetList], tuple[Folder, str]]:
        return TargetList, (self.folder, self.name)  # an open file stays behind when the list travels to a worker

    @cached_property
    def _file(self) -> pq.ParquetFile:
        with self._damage_named():
            footer = _footer(self.folder, self.name, self.folder.stamp(self.name))
            return _open_parquet(self.folder, self.name, metadata=footer, page_checksum_verification=True)

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        """Arrow's errors are of many kinds, some of Python's own: what a flipped bit makes of the metadata."""
        try:
            yield
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
            raise RuntimeError(
                f"{self} is damaged ({first_line(error)}); restore it, or delete it and run `skymetal select` again"
            ) from error

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return self.folder.digest(self.name)

    @property
    def num_rows(self) -> int:
        """How many galaxies."""
        return int(self._file.metadata.num_rows)

    @property
    def schema(self) -> pa.Schema:
        """The columns and their types, without the selection."""
        return self._file.schema_arrow.remove_metadata()

    @property
    def column_names(self) -> list[str]:
        """The columns: object_id; where positions are known ra, dec, _healpix_29, group_id; then the survey's own."""
        return list(self._file.schema_arrow.names)

    @property
    def has_sky(self) -> bool:
        """Whether the galaxies have positions; then they are in HEALPix order, else in object_id order."""
        return HEALPIX in self.column_names

    @property
    def selection(self) -> dict[str, Any]:
        """How the list was selected: survey, rows in and out, each cut with what it removed, close pairs, inputs."""
        with self._damage_named():
            return dict(json.loads(self._file.schema_arrow.metadata[_SELECTION]))

    def read(self, start: int, stop: int) -> pa.Table:
        """Return rows ``start`` to ``stop``, reading only the row groups that hold them."""
        first = start // ROW_GROUP_SIZE
        last = min(-(-stop // ROW_GROUP_SIZE), self._file.num_row_groups)
        with self._damage_named():
            table = self._file.read_row_groups(list(range(first, last)))
        return table.slice(start - first * ROW_GROUP_SIZE, stop - start).replace_schema_metadata(None)

    def read_groups(self) -> NDArray[np.int64]:
        """Return the group_id, in ascending order, of every group of more than one galaxy (within 2 arcsec)."""
        return _read_groups(self.folder, self.name, self.folder.stamp(self.name))

    def iter_tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the rows in order, a row group at a time, so that memory does not grow with the list."""
        for group in range(self._file.num_row_groups):
            with self._damage_named():
                table = self._file.read_row_group(group, columns)
            yield table.replace_schema_metadata(None)


def _open_parquet(folder: Folder, name: str, **options: Any) -> pq.ParquetFile:
    return pq.ParquetFile(folder.filesystem.open_input_file(folder.arrow_path(name)), **options)


@lru_cache(maxsize=4)
def _footer(folder: Folder, name: str, stamp: FileStamp) -> pq.FileMetaData:
    """Parse once a process: a list travels to a worker with each task, and its footer grows with the survey."""
    return _open_parquet(folder, name).metadata


@lru_cache(maxsize=4)
def _read_groups(folder: Folder, name: str, stamp: FileStamp) -> NDArray[np.int64]:
    """Read once a process: the groups are few."""
    targets = TargetList(folder, name)
    if GROUP_ID not in targets.column_names:
        return np.empty(0, np.int64)
    heads = [np.empty(0, np.int64)]
    for table in targets.iter_tables(["object_id", GROUP_ID]):
        object_id_N, group_id_N = table["object_id"].to_numpy(), table[GROUP_ID].to_numpy()
        heads.append(group_id_N[group_id_N != object_id_N])  # a group is named by the first of its galaxies
    return np.unique(np.concatenate(heads))


def write_targets(folder: Folder, name: str, table: pa.Table, *, selection: dict[str, Any]) -> TargetList:
    """Sort galaxies in memory, along the sky or by object_id where they have no position, and write the list.

    Raises InputError for a repeated object_id: two rows of one name could not be told apart afterwards.
    """
    refuse_repeats(table["object_id"].to_numpy())
    table = table.select([n for n in table.column_names if n != HEALPIX])  # another's order is not ours
    front = ["object_id", *(SKY if set(SKY) <= set(table.column_names) else ())]
    rest = [n for n in table.column_names if n not in front]
    table = with_healpix(table.select([*front, *rest]))
    table = sort_table(table, sort_keys(table.schema))
    return write_sorted_targets(folder, name, [table], table.schema, selection=selection)


def write_sorted_targets(
    folder: Folder, name: str, tables: Iterable[pa.Table], schema: pa.Schema, *, selection: dict[str, Any]
) -> TargetList:
    """Write the list from rows that come in its order, a row group at a time; it is there whole or not at all."""
    schema = schema.with_metadata({_SELECTION: json.dumps(selection, sort_keys=True)})
    with folder.open_new(name) as file, pq.ParquetWriter(file, schema, **PARQUET_OPTIONS) as writer:
        for table in _row_groups(tables):
            writer.write_table(table.cast(schema), row_group_size=ROW_GROUP_SIZE)
    return TargetList(folder, name)


def sort_keys(schema: pa.Schema) -> tuple[str, ...]:
    """Return the columns whose order is that of the list."""
    return (HEALPIX, "object_id") if HEALPIX in schema.names else ("object_id",)


def open_targets(location: str | Path) -> TargetList:
    """Open a target list by its path or URL; raise InputError where there is none yet."""
    targets = TargetList(*open_file(location))
    if not targets.folder.exists(targets.name):
        raise InputError(f"{targets} does not exist; run `skymetal select` first")
    return targets


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield the same rows in tables of whole row groups, but for the last."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        num_rows = sum(len(part) for part in waiting)
        whole = num_rows - num_rows % ROW_GROUP_SIZE
        if whole:
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, whole)
            waiting = [joined.slice(whole)]
    if sum(len(part) for part in waiting):
        yield pa.concat_tables(waiting)
