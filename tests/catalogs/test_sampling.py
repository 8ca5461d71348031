from __future__ import annotations

import numpy as np

from skymetal.catalogs.sampling import hash_ids


def test_hashes_are_the_same_for_ever_distinct_and_even() -> None:
    assert hash_ids(np.array([0, 1, -1])).tolist() == [16294208416658607535, 10451216379200822465, 16490336266968443936]
    ids = 1237648720716497094 + np.arange(100_000)
    hashes = hash_ids(ids)
    assert len(np.unique(hashes)) == len(ids)
    share = np.bincount((hashes >> np.uint64(60)).astype(int), minlength=16) / len(ids)
    assert np.abs(share - 1 / 16).max() < 0.003


def test_another_seed_is_another_order() -> None:
    ids = np.arange(1000)
    assert (np.argsort(hash_ids(ids, 1)) != np.argsort(hash_ids(ids, 2))).mean() > 0.9
