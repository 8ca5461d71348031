"""The target list: one row a galaxy, in the order in which everything after it works."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.healpix import healpix29
from skymetal.catalogs.parts import encode_parquet
from skymetal.catalogs.storage import Folder, file_digest

ROW_GROUP_SIZE = 8192
_SELECTION = b"skymetal.selection"


@dataclass(frozen=True)
class TargetList:
    """A target list on disk. It is written once, by :func:`write_targets`, and never changed."""

    path: Path

    def __reduce__(self) -> tuple[type[TargetList], tuple[Path]]:
        return TargetList, (self.path,)  # an open file stays behind when the list travels to a worker

    @cached_property
    def _file(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self.path)
        except (pa.ArrowException, OSError) as error:
            raise RuntimeError(
                f"{self.path} is damaged ({error}); delete it and run `skymetal select` again"
            ) from error

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return file_digest(self.path)

    @property
    def num_rows(self) -> int:
        """How many galaxies."""
        return int(self._file.metadata.num_rows)

    @property
    def column_names(self) -> list[str]:
        """The columns: object_id, the position if known, then the survey's own."""
        return list(self._file.schema_arrow.names)

    @property
    def has_sky(self) -> bool:
        """Whether the galaxies have positions; then they are in HEALPix order, else in object_id order."""
        return "_healpix_29" in self.column_names

    @property
    def selection(self) -> dict[str, Any]:
        """How the list was selected: the survey, rows in and out, and every cut with what it removed."""
        return dict(json.loads(self._file.schema_arrow.metadata[_SELECTION]))

    def read(self, start: int, stop: int) -> pa.Table:
        """Return rows ``start`` to ``stop``, reading only the row groups that hold them."""
        first = start // ROW_GROUP_SIZE
        last = min(-(-stop // ROW_GROUP_SIZE), self._file.num_row_groups)
        table = self._file.read_row_groups(list(range(first, last)))
        return table.slice(start - first * ROW_GROUP_SIZE, stop - start).replace_schema_metadata(None)


def write_targets(folder: Folder, name: str, table: pa.Table, *, selection: dict[str, Any]) -> TargetList:
    """Sort galaxies along the sky (or by object_id where they have no position) and write the list.

    Raises InputError for a repeated object_id: two rows of one name could not be told apart afterwards.
    """
    _refuse_repeats(table["object_id"])
    front = ["object_id"]
    table = table.select([n for n in table.column_names if n != "_healpix_29"])  # another's order is not ours
    if {"ra", "dec"} <= set(table.column_names):
        index = healpix29(table["ra"].to_numpy(), table["dec"].to_numpy())
        table = table.append_column("_healpix_29", pa.array(index))
        front = ["object_id", "ra", "dec", "_healpix_29"]
    rest = [name for name in table.column_names if name not in front]
    keys = dict.fromkeys((front[-1], "object_id"))
    order = pc.sort_indices(table, [(key, "ascending") for key in keys])
    table = table.select([*front, *rest]).take(order).combine_chunks()
    table = table.replace_schema_metadata({_SELECTION: json.dumps(selection, sort_keys=True)})
    folder.write(name, encode_parquet(table, row_group_size=ROW_GROUP_SIZE))
    return TargetList(folder.path / name)


def open_targets(path: Path) -> TargetList:
    """Open a target list; raise InputError where there is none yet."""
    if not path.exists():
        raise InputError(f"{path} does not exist; run `skymetal select` first")
    return TargetList(path)


def _refuse_repeats(object_id: pa.ChunkedArray) -> None:
    counts = pc.value_counts(object_id)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(repeated):
        example = repeated[0].as_py()
        raise InputError(
            f"object_id {example['values']} stands in {example['counts']} rows "
            f"({len(repeated)} ids are repeated in all); give every galaxy one row"
        )
