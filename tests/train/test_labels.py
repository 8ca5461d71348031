from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support.tiny_training import QUARANTINED_ROW, make_store

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import LocalFolder
from skymetal.catalogs.targets import open_targets, write_targets
from skymetal.train.labels import read_labels


def test_a_missing_label_names_the_columns_near_it(folder: LocalFolder) -> None:
    targets, _ = make_store(folder, 24)
    with pytest.raises(InputError, match=r"no column 'oh_p5'; did you mean 'oh_p50'"):
        read_labels(targets, ("oh_p5",))
    with pytest.raises(InputError, match=r"no column 'zzz'; there is object_id, oh_p50"):
        read_labels(targets, ("zzz",))


def test_labels_without_information_are_refused(folder: LocalFolder) -> None:
    targets, _ = make_store(folder, 24)
    with pytest.raises(InputError, match="same is 1 for every galaxy"):
        read_labels(targets, ("same",))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["?"] * 24, "is of type string, not a number"),
        ([None] * 20 + [8.1, 8.2, 8.3, 8.4], "only 4 of 24 galaxies have oh_p50; training needs"),
        ([8.0, 99.0] * 12, r"oh_p50 is 99 for object_id 1, outside 6 to 11, so it is no 12\+log"),
    ],
)
def test_labels_that_are_no_numbers_or_too_few_are_refused(column: list[object], message: str, tmp_path: Path) -> None:
    table = pa.table({"object_id": range(24), "oh_p50": column})
    write_targets(LocalFolder(tmp_path), "targets.parquet", table, selection={})
    with pytest.raises(InputError, match=message):
        read_labels(open_targets(tmp_path / "targets.parquet"), ("oh_p50",))


def test_galaxies_without_an_image_do_not_count(folder: LocalFolder) -> None:
    targets, store = make_store(folder, 24)
    stored = store.read_is_stored()
    assert np.flatnonzero(~stored).tolist() == [QUARANTINED_ROW]
    stored[7:] = False
    with pytest.raises(InputError, match="of 24 galaxies have oh_p50 and an image"):
        read_labels(targets, ("oh_p50",), is_stored_N=stored)
