"""Cutouts of a few galaxies, by their ids."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.targets import TargetList
from skymetal.engine.store import CutoutStore


def read_cutouts(store: CutoutStore, targets: TargetList, object_id_N: NDArray[np.int64]) -> NDArray[Any]:
    """Return the cutouts (N, H, W, C) of some galaxies by their ids; meant for a few, since it reads whole shards.

    Raises InputError for an id that is no target.
    """
    known = targets.read(0, targets.num_rows)["object_id"].to_numpy()
    order = np.argsort(known)
    place_N = np.searchsorted(known, object_id_N, sorter=order).clip(max=len(known) - 1)
    row_N = order[place_N]
    unknown = object_id_N[known[row_N] != object_id_N]
    if len(unknown):
        raise InputError(f"object_id {unknown[0]} is not in {targets.path}")
    spec, index_N = store.image_spec, row_N // store.layout.shard_size
    images_NHWC = np.empty((len(row_N), *spec.frame), spec.dtype)
    for index in np.unique(index_N):
        block = store.read_block(int(index))
        images_NHWC[index_N == index] = block.images[row_N[index_N == index] - block.start]
    return images_NHWC
