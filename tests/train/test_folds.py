from __future__ import annotations

import numpy as np
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.train.folds import assign_folds, stream_seed


def test_a_fold_depends_on_the_galaxy_and_the_seed_alone() -> None:
    object_id = np.arange(1237648702973411443, 1237648702973411443 + 1000)
    fold = assign_folds(object_id, num_folds=5, seed=7)
    assert np.array_equal(assign_folds(object_id[::-3], num_folds=5, seed=7), fold[::-3])
    assert not np.array_equal(assign_folds(object_id, num_folds=5, seed=8), fold)


def test_folds_are_nearly_equal_even_for_ids_in_a_row() -> None:
    fold = assign_folds(np.arange(-5000, 5000), num_folds=5, seed=0)
    assert np.bincount(fold).min() > 1900
    assert np.bincount(fold).max() < 2100


def test_too_many_folds_are_refused() -> None:
    with pytest.raises(InputError, match=r"\[train\] num_folds = 5 is too many for 8 galaxies"):
        assign_folds(np.arange(8), num_folds=5, seed=0)


def test_seeds_differ_by_every_number_and_their_order() -> None:
    seeds = {stream_seed(*numbers) for numbers in [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 0), (-1,)]}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)
