from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.selection.cuts import (
    LEGACY_GALAXIES,
    WU_BOADA_2019,
    Between,
    ClearBit,
    Cut,
    Measured,
    OneOf,
    apply_cuts,
    check_cuts,
)

TABLE = pa.table(
    {
        "x": [1.0, 2.0, 3.0, np.nan, None],
        "y": [0.0, 1.5, None, 0.0, 0.0],
        "n": [0, 2, 3, 2**62, None],
        "word": ["PSF", "EXP", "exp", "", None],
    }
)


@pytest.mark.parametrize(
    ("cut", "name", "rows"),
    [
        (Between(column="x", low=1, high=3), "1 < x < 3", [1]),
        (Between(column="x", low=1), "x > 1", [1, 2]),
        (Between(column="x", high=2.5), "x < 2.5", [0, 1]),
        (Between(column="x", minus="y", low=0.75), "x - y > 0.75", [0]),
        (Between(column="n", high=3), "n < 3", [0, 1]),
        (Measured(column="x"), "x is measured", [0, 1, 2]),
        (Measured(column="n", label="n is there"), "n is there", [0, 1, 2, 3]),
        (OneOf(column="word", words=("EXP", "SER"), label="type is a galaxy's"), "type is a galaxy's", [1]),
        (ClearBit(column="n", bit=1, label="SECOND"), "n has no SECOND", [0, 3]),
    ],
)
def test_a_cut_keeps_the_rows_that_meet_it_and_null_meets_none(cut: Cut, name: str, rows: list[int]) -> None:
    assert cut.name == name
    numbered = TABLE.append_column("row", pa.array(range(5)))
    removed = {name: 10}
    assert apply_cuts([cut], numbered, removed)["row"].to_pylist() == rows
    assert removed == {name: 10 + 5 - len(rows)}
    check_cuts([cut], TABLE.schema, where="t")


def test_each_row_is_counted_by_the_first_cut_it_fails() -> None:
    removed: dict[str, int] = {}
    kept = apply_cuts([Measured(column="x"), Between(column="y", low=-1, high=1)], TABLE, removed)
    assert removed == {"x is measured": 2, "-1 < y < 1": 2}
    assert kept.num_rows + sum(removed.values()) == TABLE.num_rows


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (Between(column="X", low=0), r"t, which the cut 'X > 0' looks at, has no column 'X'; did you mean 'x'\?"),
        (Between(column="word", low=0), "t cannot be cut by 'word > 0': 'word' is of type string; give it as numbers"),
        (Between(column="x", minus="word", low=0), "'x' is of type double and 'word' is of type string"),
        (ClearBit(column="x", bit=0, label="B"), "t cannot be cut by 'x has no B': 'x' is of type double"),
    ],
)
def test_a_table_that_cannot_be_cut_is_refused_before_any_row_is_read(cut: Cut, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_cuts([cut], TABLE.schema, where="t")


def test_a_set_of_cuts_names_each_of_them_once() -> None:
    for cuts in (WU_BOADA_2019, LEGACY_GALAXIES):
        names = [cut.name for cut in cuts]
        assert len(set(names)) == len(names)
    assert [cut.name for cut in WU_BOADA_2019] == [
        "10 < petroMag_r < 18",
        "0 < u - r < 6",
        *(f"10 < modelMag_{band} < 25" for band in "ugriz"),
        "rChi2 < 2",
        "0 < zErr < 0.01",
        "redshift > 0.02",
        "oh_p50 is measured",
    ]
