"""The galaxies' pictures, out of the cutout store of the run that a catalogue belongs to."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.catalog import Catalog
from skymetal.catalogs.contents import VERSIONS
from skymetal.catalogs.errors import InputError
from skymetal.catalogs.targets import TargetList
from skymetal.deploy.pictures import to_png
from skymetal.deploy.run_directory import TARGETS
from skymetal.engine.lookup import read_cutouts_at
from skymetal.engine.store import STORE, CutoutStore, open_store

AT_ONCE = 2
"""Each holds a shard's file, which may be some hundred megabytes."""


@dataclass(frozen=True, kw_only=True)
class Cutouts:
    """Pictures of galaxies by object_id. Any thread may ask."""

    store: CutoutStore
    targets: TargetList
    _turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(AT_ONCE))
    _first: threading.Lock = field(default_factory=threading.Lock)

    def png(self, object_id: int) -> bytes | None:
        """Return a galaxy's cutout as a PNG; None where there is none.

        Raises RuntimeError, naming the shard, where its pixels are not those that were ingested.
        """
        row = self._row(object_id)
        if row is None:
            return None
        index = row // self.store.layout.shard_size
        with self._turn:
            galaxy = self.store.read_receipt(index).slice(row - self.store.layout.rows(index)[0], 1).to_pylist()[0]
            if not galaxy["is_stored"] or galaxy["object_id"] != object_id:
                return None  # quarantined; or the target list is not the store's
            return to_png(read_cutouts_at(self.store, np.array([row]))[0])

    def _row(self, object_id: int) -> int | None:
        with self._first:  # one thread reads the ids, the others wait for it
            known_N, row_N = self._places
        place = int(np.searchsorted(known_N, object_id)) if abs(object_id) < 1 << 63 else len(known_N)
        return int(row_N[place]) if place < len(known_N) and known_N[place] == object_id else None

    @cached_property
    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All object_ids in ascending order, and the row of each in the target list."""
        ids = [table["object_id"].to_numpy() for table in self.targets.iter_tables(["object_id"])]
        known_N = np.concatenate(ids)
        row_N = np.argsort(known_N)
        return known_N[row_N], row_N


def open_cutouts(catalog: Catalog) -> Cutouts:
    """Return the pictures of a catalogue's galaxies; raise InputError, saying why, where there are none."""
    run_dir = catalog.folder.parent.parent
    if catalog.folder.parent.name != VERSIONS or run_dir.find_size(TARGETS) is None:
        raise InputError("this catalogue is not in a run directory")
    return Cutouts(store=open_store(run_dir / STORE), targets=TargetList(run_dir, TARGETS))
