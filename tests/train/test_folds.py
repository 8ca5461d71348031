from __future__ import annotations

import numpy as np
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.train.folds import TEST_FOLD, assign_folds, sky_groups, stream_seed


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
    with pytest.raises(InputError, match=r"\[train\] num_folds = 5 is too many for 8 galaxies with labels in 8 groups"):
        assign_folds(np.arange(8), num_folds=5, seed=0)
    with pytest.raises(InputError, match=r"9 galaxies with labels in 1 groups, 0.3 of them for the test set: fold"):
        assign_folds(np.zeros(9, np.int64), num_folds=5, seed=0, test_fraction=0.3)


def test_seeds_differ_by_every_number_and_their_order() -> None:
    seeds = {stream_seed(*numbers) for numbers in [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 0), (-1,)]}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_test_set_has_its_share_and_moves_no_other_galaxy() -> None:
    group_id = np.arange(10_000)
    without = assign_folds(group_id, num_folds=5, seed=3)
    fold = assign_folds(group_id, num_folds=5, seed=3, test_fraction=0.2)
    is_test = fold == TEST_FOLD
    assert 0.18 < is_test.mean() < 0.22
    assert np.array_equal(fold[~is_test], without[~is_test])
    assert np.bincount(without[is_test]).min() > 300, "the test set is drawn from every fold"
    assert np.array_equal(assign_folds(group_id[::2], num_folds=5, seed=3, test_fraction=0.2), fold[::2])


def test_a_patch_of_sky_is_in_one_fold_and_so_is_a_pair_across_its_border() -> None:
    random = np.random.default_rng(0)
    healpix = np.sort(random.integers(0, 12 * 4**29, 3000))
    group_id = np.arange(3000)
    order = 4
    border = np.flatnonzero(np.diff(healpix >> (2 * (29 - order))))[5]
    group_id[border + 1] = group_id[border]
    groups = sky_groups(group_id, healpix, order=order)
    pixel = healpix >> (2 * (29 - order))
    assert groups[border + 1] == groups[border] == pixel[border] != pixel[border + 1]
    others = np.arange(3000) != border + 1
    assert np.array_equal(groups[others], pixel[others])
