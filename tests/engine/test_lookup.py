from __future__ import annotations

import numpy as np
import pytest
from support import stores

from skymetal.catalogs.storage import LocalFolder
from skymetal.engine.lookup import read_cutouts_at
from skymetal.engine.store import CutoutStore, shard_name


@pytest.fixture
def store(folder: LocalFolder) -> CutoutStore:
    return stores.fill(folder / "store.zarr")


@pytest.mark.parametrize("rows", [[0], [19, 0, 7, 8, 7], list(range(20)), []])
def test_cutouts_come_in_the_order_they_are_asked_for(store: CutoutStore, rows: list[int]) -> None:
    row_N = np.array(rows, np.int64)
    assert (read_cutouts_at(store, row_N) == stores.images()[row_N]).all()


def test_pixels_that_are_not_those_of_their_galaxy_are_refused(store: CutoutStore) -> None:
    first, second = (store.folder.read(shard_name(index)) for index in (0, 1))
    store.folder.write(shard_name(0), second)
    with pytest.raises(RuntimeError, match=r"c/0/0/0/0 does not hold the pixels .* as of galaxy 1003; .* repair"):
        read_cutouts_at(store, np.array([3]))
    store.folder.write(shard_name(0), first[: len(first) // 2])
    with pytest.raises(RuntimeError, match=r"c/0/0/0/0 is missing or damaged"):
        read_cutouts_at(store, np.array([3]))
    store.folder.remove(shard_name(0))
    with pytest.raises(RuntimeError, match=r"c/0/0/0/0 is missing or damaged"):
        read_cutouts_at(store, np.array([3]))
    assert read_cutouts_at(store, np.array([9])).shape == (1, 16, 16, 3)
