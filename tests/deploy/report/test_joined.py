from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support.reported_run import Made, make_run

from skymetal.catalogs.storage import LocalFolder
from skymetal.catalogs.targets import TargetList, write_targets
from skymetal.deploy.report.joined import ROW, _Finder, iter_joined


@pytest.mark.parametrize("made", [Made(num_galaxies=20_000, part_rows=700), Made(has_sky=False)], ids=["sky", "no sky"])
def test_every_galaxy_gets_the_numbers_of_its_own_target(tmp_path: Path, made: Made) -> None:
    facts = make_run(tmp_path, made)
    names = ["oh_true", "modelMag_r"]
    tables = iter_joined(facts.catalog, facts.targets, columns=["object_id", "oh_p50"], target_columns=names)
    joined = pa.concat_tables(tables).to_pandas()
    expected = facts.catalog.to_arrow(["object_id", "oh_p50"]).to_pandas()
    targets = facts.targets.read(0, facts.targets.num_rows).to_pandas().set_index("object_id")
    assert joined["object_id"].tolist() == expected["object_id"].tolist()
    for name in names:
        assert np.array_equal(joined[f"{name}_target"], targets.loc[joined["object_id"], name].astype(float))
    rows = dict(zip(targets.index, range(len(targets)), strict=True))
    assert joined[ROW].tolist() == [rows[each] for each in joined["object_id"]]


@pytest.fixture
def targets(folder: LocalFolder) -> TargetList:
    ids = np.arange(40_000)
    magnitude = np.where(ids % 3 == 0, -9999.0, 17.0)
    table = pa.table({"object_id": ids, "modelMag_r": magnitude, "name": ["x"] * len(ids)})
    return write_targets(folder, "targets.parquet", table, selection={})


def test_what_cannot_be_such_a_number_is_none(targets: TargetList) -> None:
    finder = _Finder(targets, ["modelMag_r", "name"])
    columns = finder.take(finder.find(np.array([3, 4])))
    assert np.array_equal(columns["modelMag_r_target"], [np.nan, 17.0], equal_nan=True)
    assert np.isnan(columns["name_target"]).all()


def test_only_a_window_of_the_list_is_held(targets: TargetList) -> None:
    finder = _Finder(targets, ["modelMag_r"])
    for start in range(0, 40_000, 1000):
        ids = np.arange(start, start + 1000)
        assert finder.take(finder.find(ids))[ROW].tolist() == ids.tolist()
        assert finder._num_rows < 20_000


def test_a_galaxy_that_is_no_target_is_named(targets: TargetList) -> None:
    with pytest.raises(RuntimeError, match=r"galaxy 50000 of the catalogue is not in .*targets\.parquet"):
        _Finder(targets, []).find(np.array([1, 50_000]))
