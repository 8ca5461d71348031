"""A sample of the catalogue that depends on the galaxies and a seed alone, not on files or order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.files import DataFiles

_MULTIPLIERS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_STEP, _LAST_SHIFT = 0x9E3779B97F4A7C15, 31


def sample_rows(files: DataFiles, num_rows: int, *, seed: int, columns: Sequence[str]) -> pa.Table:
    """Return ``num_rows`` galaxies, or all where there are fewer, in the order of the catalogue.

    Those of the lowest hash of object_id are chosen. Memory: one file, and the sample.
    """
    if num_rows < 0:
        raise InputError(f"a sample has 0 galaxies or more, got {num_rows}")
    rank_S, file_S, row_S = (np.empty(0, kind) for kind in (np.uint64, np.int64, np.int64))
    for index in range(len(files.names)):
        rank_N = hash_ids(files.read(index, ["object_id"])["object_id"].to_numpy(), seed)
        rank_S = np.concatenate([rank_S, rank_N])
        file_S = np.concatenate([file_S, np.full(len(rank_N), index)])
        row_S = np.concatenate([row_S, np.arange(len(rank_N))])
        chosen = np.sort(np.argsort(rank_S, kind="stable")[:num_rows])
        rank_S, file_S, row_S = rank_S[chosen], file_S[chosen], row_S[chosen]
    found = [files.schema.empty_table().select(columns)]
    for index in np.unique(file_S).tolist():
        found.append(files.read(index, columns).take(pa.array(row_S[file_S == index])))
    return pa.concat_tables(found)


def hash_ids(object_id_N: NDArray[np.int64], seed: int = 0) -> NDArray[np.uint64]:
    """Return a hash (N,) of each id, the same for ever: the lowest are a random sample (SplitMix64)."""
    hash_N = object_id_N.astype(np.uint64) + np.uint64(_STEP * (seed + 1) % 2**64)  # wraps around, as it should
    for shift, multiplier in _MULTIPLIERS:
        hash_N = (hash_N ^ (hash_N >> np.uint64(shift))) * np.uint64(multiplier)
    return hash_N ^ (hash_N >> np.uint64(_LAST_SHIFT))
