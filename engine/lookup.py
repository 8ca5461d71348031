"""Cutouts of a few galaxies, by their ids or by their rows in the target list."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError, first_line
from skymetal.catalogs.targets import TargetList
from skymetal.engine.shard import StoreLayout, checksums, decode_shard
from skymetal.engine.store import REMEDY, CutoutStore, shard_name


def read_cutouts(store: CutoutStore, targets: TargetList, object_id_N: NDArray[np.int64]) -> NDArray[Any]:
    """Return the cutouts (N, H, W, C) of some galaxies by their ids; meant for a few, since it reads whole files.

    Raises InputError for an id that is no target, RuntimeError as read_cutouts_at does.
    """
    known = targets.read(0, targets.num_rows)["object_id"].to_numpy()
    order = np.argsort(known)
    place_N = np.searchsorted(known, object_id_N, sorter=order).clip(max=len(known) - 1)
    row_N = order[place_N]
    unknown = object_id_N[known[row_N] != object_id_N]
    if len(unknown):
        raise InputError(f"object_id {unknown[0]} is not in {targets}")
    return read_cutouts_at(store, row_N)


def read_cutouts_at(store: CutoutStore, row_N: NDArray[np.integer]) -> NDArray[Any]:
    """Return the cutouts (N, H, W, C) of some rows of the target list, reading each shard's file once.

    Raises RuntimeError, naming the shard, where it is missing, torn, or not the pixels of its receipt.
    """
    spec, index_N = store.image_spec, row_N // store.layout.shard_size
    images_NHWC = np.empty((len(row_N), *spec.frame), spec.dtype)
    for index in np.unique(index_N):
        places = np.flatnonzero(index_N == index)
        start, _ = store.layout.rows(int(index))
        images_NHWC[places] = _read_from_shard(store, int(index), row_N[places] - start)
    return images_NHWC


def _read_from_shard(store: CutoutStore, index: int, row_n: NDArray[np.integer]) -> NDArray[Any]:
    """Decode only the chunks that hold these rows of a shard, and check the galaxies in them."""
    name, receipt = shard_name(index), store.read_receipt(index)
    try:
        images = _decode_rows(store.layout, store.read_shard(index), row_n)
    except (OSError, ValueError) as error:
        raise RuntimeError(
            f"shard {store.folder}/{name} is missing or damaged ({first_line(error)}); {REMEDY}"
        ) from error
    object_id_n = receipt["object_id"].to_numpy()[row_n]
    wrong = np.flatnonzero(checksums(object_id_n, images) != receipt["crc32c"].to_numpy()[row_n])
    if len(wrong):
        raise RuntimeError(
            f"shard {store.folder}/{name} does not hold the pixels that were ingested, as of galaxy "
            f"{object_id_n[wrong[0]]}; {REMEDY}"
        )
    return images


def _decode_rows(layout: StoreLayout, data: bytes, row_n: NDArray[np.integer]) -> NDArray[Any]:
    images_nHWC = np.empty((len(row_n), *layout.image_spec.frame), layout.image_spec.dtype)
    chunk_n = row_n // layout.chunk_size
    for chunk in np.unique(chunk_n):
        here_n, first = chunk_n == chunk, int(chunk) * layout.chunk_size
        chunk_NHWC = decode_shard(layout, data, slice(first, first + layout.chunk_size))
        images_nHWC[here_n] = chunk_NHWC[row_n[here_n] - first]
    return images_nHWC
