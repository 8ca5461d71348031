from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from skymetal.deploy.report.lowest import LowestRows


def draw(num_rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.arange(num_rows) * 7 - 50)
    return pa.table({"object_id": ids, "value": rng.integers(0, 40, num_rows).astype(np.float32)})


@pytest.mark.parametrize("piece", [1, 7, 100, 1000])
@pytest.mark.parametrize("num_kept", [1, 8, 300, 5000])
def test_the_lowest_are_those_of_a_sort_whatever_comes_together(piece: int, num_kept: int) -> None:
    table = draw(1000, 1)
    lowest = LowestRows(num_kept)
    for start in range(0, 1000, piece):
        part = table.slice(start, piece)
        lowest.add(part["value"].to_numpy(), part)
    expected = table.sort_by([("value", "ascending"), ("object_id", "ascending")]).slice(0, num_kept)
    found = lowest.table()
    assert found is not None
    assert found.to_pydict() == expected.to_pydict()
    assert lowest.num_seen == 1000


def test_what_has_no_key_is_not_counted() -> None:
    lowest = LowestRows(3)
    lowest.add(np.array([np.nan, 2.0, np.nan]), pa.table({"object_id": [1, 2, 3]}))
    assert lowest.num_seen == 1
    found = lowest.table()
    assert found is not None
    assert found["object_id"].to_pylist() == [2]


def test_of_nothing_there_is_no_table() -> None:
    lowest = LowestRows(3)
    lowest.add(np.array([np.nan]), pa.table({"object_id": [1]}))
    assert lowest.table() is None


def test_memory_does_not_grow_with_what_comes() -> None:
    lowest = LowestRows(10)
    for start in range(0, 100_000, 1000):
        ids = np.arange(start, start + 1000)
        lowest.add(-ids, pa.table({"object_id": ids}))  # the worst order: each is lower than all before
        assert sum(len(keys) for keys in lowest._keys) <= 20
    found = lowest.table()
    assert found is not None
    assert found["object_id"].to_pylist() == list(range(99_999, 99_989, -1))
