from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.selection.repeats import refuse_repeats, without_repeats


def left(**columns: list[object]) -> list[int]:
    table = pa.table({"id": [1, 1, 2], "row": [0, 0, 0], **columns}).append_column("n", pa.array([0, 0, 0]))
    (kept,) = without_repeats([table], ["id"])
    return list(kept["id"].to_pylist())


@pytest.mark.parametrize(
    ("values", "are_equal"),
    [
        ([1.5, 1.5, 0.0], True),
        ([1.5, 1.25, 0.0], False),
        ([None, None, 0.0], True),
        ([None, 1.5, 0.0], False),
        ([np.nan, np.nan, 0.0], True),
        ([np.nan, 1.5, 0.0], False),
        ([np.nan, None, 0.0], False),
        (["a", "a", ""], True),
        (["a", "b", ""], False),
        ([True, False, None], False),
        ([[1, 2], [1, 2], []], True),
        ([[1, 2], [1, 3], []], False),
        ([None, None, None], True),
    ],
)
def test_only_rows_that_are_equal_in_every_column_are_dropped(values: list[object], are_equal: bool) -> None:
    column = pa.array(values, from_pandas=False)
    assert left(x=column) == ([1, 2] if are_equal else [1, 1, 2])


def test_of_many_equal_rows_one_stays() -> None:
    table = pa.table({"id": [1, 1, 1, 2, 3, 3], "x": [5, 5, 5, 5, 5, 5]})
    kept = pa.concat_tables(without_repeats([table, table.slice(0, 0), table.slice(3, 1)], ["id"]))
    assert kept["id"].to_pylist() == [1, 2, 3, 2]


def test_ids_of_different_rows_are_refused_with_an_example_and_their_number() -> None:
    refuse_repeats(np.array([5, 2**63 - 1, -1, 0]))
    refuse_repeats(np.array([], dtype=np.int64))
    with pytest.raises(InputError, match=r"object_id -1 stands in 3 rows that differ \(2 ids are repeated in all\)"):
        refuse_repeats(np.array([9, -1, 9, 4, -1, -1]))
