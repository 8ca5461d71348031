"""The catalogue beside its target list, a piece at a time: both are in the same order, so neither is held whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skymetal.catalogs.catalog import Catalog
from skymetal.catalogs.targets import TargetList
from skymetal.train.evaluation.photometry import possible

ROW = "row"
"""Where a galaxy stands in the target list, and so in the cutout store."""


def iter_joined(
    catalog: Catalog, targets: TargetList, *, columns: Sequence[str], target_columns: Sequence[str]
) -> Iterator[pa.Table]:
    """Yield the catalogue's ``columns`` in its order, with ``row`` and numbers of the targets, as ``<name>_target``.

    A number that is missing, or that such a quantity cannot have, is NaN. Memory is that of a piece, as long as both
    are in the same order. Raises RuntimeError for a galaxy that is no target.
    """
    finder = _Finder(targets, target_columns)
    for table in catalog.iter_tables(columns):
        if table.num_rows:
            place_n = finder.find(table["object_id"].to_numpy())
            for name, value_n in finder.take(place_n).items():
                table = table.append_column(name, pa.array(value_n))
            yield table


class _Finder:
    """A window on the target list that moves along as galaxies are asked for."""

    def __init__(self, targets: TargetList, names: Sequence[str]) -> None:
        self._where = str(targets)
        self._pieces = _number_rows(targets, names)
        self._window: dict[str, NDArray[Any]] = {"object_id": np.empty(0, np.int64)}

    def find(self, object_id_n: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return where in the window each galaxy stands; what lies before the first of them is let go."""
        self._read_more(len(object_id_n) - self._num_rows)
        while True:
            known = self._window["object_id"]
            order = np.argsort(known, kind="stable")
            place_n = order[np.searchsorted(known, object_id_n, sorter=order).clip(max=len(known) - 1)]
            unknown = object_id_n[known[place_n] != object_id_n]
            if not len(unknown):
                first = int(place_n.min())
                self._window = {name: values[first:] for name, values in self._window.items()}
                return np.asarray(place_n - first)
            if not self._read_more(max(len(unknown), self._num_rows // 4)):
                raise RuntimeError(f"galaxy {unknown[0]} of the catalogue is not in {self._where}, or not in its order")

    def take(self, place_n: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
        """Return the columns at places of the window."""
        columns = {name: values[place_n] for name, values in self._window.items() if name != "object_id"}
        return {name if name == ROW else f"{name}_target": values for name, values in columns.items()}

    @property
    def _num_rows(self) -> int:
        return len(self._window["object_id"])

    def _read_more(self, num_rows: int) -> bool:
        """Lengthen the window by so many rows, or up to the list's end; tell whether there were any."""
        found = []
        while num_rows > 0 and (piece := next(self._pieces, None)):
            found.append(piece)
            num_rows -= len(piece["object_id"])
        if found:
            pieces = [self._window, *found] if self._num_rows else found
            self._window = {name: np.concatenate([piece[name] for piece in pieces]) for name in found[0]}
        return bool(found)


def _number_rows(targets: TargetList, names: Sequence[str]) -> Iterator[dict[str, NDArray[Any]]]:
    start = 0
    for table in targets.iter_tables(["object_id", *names]):
        piece: dict[str, NDArray[Any]] = {name: possible(table[name], name) for name in names}
        yield piece | {"object_id": table["object_id"].to_numpy(), ROW: start + np.arange(table.num_rows)}
        start += table.num_rows
