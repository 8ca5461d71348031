"""Which fold a galaxy is in: a pure function of its group and the seed, so no table of folds can be lost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError

MIN_GALAXIES = 2
TEST_FOLD = -1
"""The fold of galaxies that every member is kept from."""
_TEST_STREAM = 1


def assign_folds(
    group_id_N: NDArray[np.int64], *, num_folds: int, seed: int, test_fraction: float = 0.0
) -> NDArray[np.int64]:
    """Return the fold of every galaxy, 0 … num_folds - 1 or TEST_FOLD, whatever other galaxies there are.

    Galaxies of one group share a fold. Raises InputError where a fold gets fewer than two galaxies: there would be
    nothing to judge its member by.
    """
    mixed_N = _mix(group_id_N.astype(np.uint64) ^ np.uint64(stream_seed(seed)))
    fold_N = (mixed_N % np.uint64(num_folds)).astype(np.int64)
    if test_fraction:
        drawn_N = _mix(group_id_N.astype(np.uint64) ^ np.uint64(stream_seed(seed, _TEST_STREAM))) / 2.0**64
        fold_N[drawn_N < test_fraction] = TEST_FOLD
    num_in_fold = np.bincount(fold_N[fold_N != TEST_FOLD], minlength=num_folds)
    if num_in_fold.min() < MIN_GALAXIES:
        kept = f", {test_fraction:g} of them for the test set" if test_fraction else ""
        raise InputError(
            f"[train] num_folds = {num_folds} is too many for {len(group_id_N)} galaxies with labels in "
            f"{len(np.unique(group_id_N))} groups{kept}"
            f": fold {int(num_in_fold.argmin())} gets {num_in_fold.min()} of them, and needs {MIN_GALAXIES}; use fewer "
            "folds, smaller groups (sky_order), or more galaxies"
        )
    return fold_N


def sky_groups(group_id_N: NDArray[np.int64], healpix_29_N: NDArray[np.int64], *, order: int) -> NDArray[np.int64]:
    """Return groups that are whole HEALPix pixels of ``order``; a pair across a border stays with its first galaxy."""
    _, first_G, group_N = np.unique(group_id_N, return_index=True, return_inverse=True)
    return np.asarray((healpix_29_N >> (2 * (29 - order)))[first_G][group_N])


def stream_seed(*numbers: int) -> int:
    """Return a well-mixed 63-bit seed that depends on all the numbers and their order."""
    state = np.zeros(1, dtype=np.uint64)
    for number in numbers:
        state = _mix(state ^ np.array([number], dtype=np.int64).astype(np.uint64))
    return int(state[0] >> np.uint64(1))


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit integers one to one (SplitMix64: Steele, Lea & Flood 2014); arrays wrap without a warning."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
