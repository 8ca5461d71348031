from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.select import TargetSettings, select
from skymetal.catalogs.storage import Folder
from skymetal.catalogs.targets import TargetList


def select_csv(folder: Folder, text: str, **settings: Any) -> TargetList:
    folder.write("survey.csv", text.encode())
    table = str(folder.path / "survey.csv")
    return select(
        TargetSettings(survey="sdss", tables=(table,), **settings), seed=0, folder=folder, name="targets.parquet"
    )


def test_columns_are_renamed_and_sentinels_become_null(folder: Folder) -> None:
    targets = select_csv(folder, "objID,oh_p50,n\n3,8.5,1\n1,-9999,2\n", columns={"object_id": "objID"})
    assert targets.read(0, 2).to_pydict() == {"object_id": [1, 3], "oh_p50": [None, 8.5], "n": [2, 1]}


def test_integer_sentinels_become_null_too_but_an_id_is_never_touched(folder: Folder) -> None:
    targets = select_csv(folder, "object_id,oh_p50\n-9999,8\n2,-9999\n")
    assert targets.read(0, 2).to_pydict() == {"object_id": [-9999, 2], "oh_p50": [8, None]}


def test_an_index_of_the_sky_without_positions_is_dropped(folder: Folder) -> None:
    targets = select_csv(folder, "object_id,_healpix_29\n1,5\n2,3\n")
    assert not targets.has_sky
    assert targets.column_names == ["object_id"]


def test_a_position_off_the_sky_is_removed_and_counted(folder: Folder) -> None:
    targets = select_csv(folder, "object_id,ra,dec\n1,10,20\n2,400,0\n3,,5\n4,10,-95\n")
    assert targets.num_rows == 1
    assert targets.selection["removed"] == [{"cut": "position is on the sky", "num_removed": 3}]
    assert (targets.selection["rows_in"], targets.selection["rows_out"]) == (4, 1)


def test_every_cut_of_the_paper_counts_what_it_removes(folder: Folder) -> None:
    names = ["object_id", "petroMag_r", *(f"modelMag_{b}" for b in "ugriz"), "rChi2", "zErr", "redshift", "oh_p50"]
    good = [16.0, 18.0, 17.0, 16.0, 16.0, 15.5, 1.0, 0.001, 0.05, 8.9]
    spoiled = {
        1: {0: 18.5},
        2: {1: 15.0},
        3: {5: 26.0},
        4: {6: 2.5},
        5: {7: 0.02},
        6: {8: 0.01},
        7: {9: -9999.0},
        8: {},
    }
    lines = [",".join(names)]
    for object_id, changes in spoiled.items():
        lines.append(",".join(map(str, [object_id, *(changes.get(k, value) for k, value in enumerate(good))])))
    targets = select_csv(folder, "\n".join(lines) + "\n", cuts="wu-boada-2019")
    assert targets.read(0, 1)["object_id"].to_pylist() == [8]
    removed = {cut["cut"]: cut["num_removed"] for cut in targets.selection["removed"] if cut["num_removed"]}
    assert removed == {
        "10 < petroMag_r < 18": 1,
        "0 < u - r < 6": 1,
        "10 < modelMag_z < 25": 1,
        "-inf < rChi2 < 2": 1,
        "0 < zErr < 0.01": 1,
        "0.02 < redshift < inf": 1,
        "oh_p50 is measured": 1,
    }


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("objid,x\n1,2\n", {"columns": {"object_id": "objID"}}, r"has no column 'objID'; did you mean 'objid'\?"),
        ("objid,x\n1,2\n", {}, "has no column 'object_id'; did you mean 'objid'"),
        ("object_id\n1\n1\n", {}, "object_id 1 stands in 2 rows"),
        ("object_id\n1.5\n", {}, "its column is of type double"),
        ("object_id\ntrue\n", {}, "its column is of type bool"),
        ("object_id\n2026-11-23\n", {}, "its column is of type date32"),
        ("object_id\n0012x\n", {}, "object_id must be an integer, got '0012x'"),
        ("object_id,ra,dec\n1,true,false\n", {}, "must be in decimal degrees, but its column is of type bool"),
        ("object_id\n99999999999999999999\n", {}, "object_id"),
        ("object_id\n1e18\n", {}, "object_id"),
        ("object_id,x\n1,2\n,3\n", {}, "missing in 1 rows"),
        ("object_id\nabc\n", {}, "must be an integer"),
        ("object_id,ra,dec\n1,00:42:44,+41:16:09\n", {}, "must be in decimal degrees"),
        ("object_id,ra,dec\n1,999,0\n", {}, "no galaxy is left of 1: 'position is on the sky' removed 1"),
        ("object_id\n", {}, "has no rows"),
        ("object_id\n1\n", {"cuts": "wu-boada-2019"}, "looks at, has no column 'petroMag_r'"),
        ("object_id,a,b\n1,2,3\n", {"columns": {"x": "a", "b": "a"}}, "two columns of one name"),
    ],
)
def test_a_table_that_cannot_serve_is_refused(
    folder: Folder, text: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        select_csv(folder, text, **settings)
    assert not folder.exists("targets.parquet")


def test_an_existing_list_is_kept_and_another_selection_refused(folder: Folder) -> None:
    first = select_csv(folder, "object_id\n1\n2\n")
    assert select_csv(folder, "object_id\n1\n2\n").digest == first.digest
    with pytest.raises(InputError, match="was selected with tables ="):
        select_csv(folder, "object_id\n1\n2\n3\n")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"survey": "sdss"}, "tables names no survey table"),
        ({"survey": "sdss", "tables": ("x.csv",), "cuts": "wu"}, "cuts must be one of none, wu-boada-2019, got 'wu'"),
        ({"survey": "simulated", "num_galaxies": 0}, "num_galaxies must be at least 1"),
        ({"survey": "simulated", "num_galaxies": 5, "tables": ("x.csv",)}, "makes its own table"),
    ],
)
def test_settings_that_make_no_sense_cannot_exist(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TargetSettings(**settings)


def test_a_simulated_survey_needs_no_table(tmp_path: Path) -> None:
    settings = TargetSettings(survey="simulated", num_galaxies=50)
    targets = select(settings, seed=3, folder=Folder(tmp_path), name="targets.parquet")
    assert targets.num_rows == 50
    assert targets.has_sky
    with pytest.raises(InputError, match="was selected with seed = 3"):
        select(settings, seed=4, folder=Folder(tmp_path), name="targets.parquet")


def test_the_real_labels_are_all_selected(real_data: Path, folder: Folder) -> None:
    table = str(real_data / "sdss-oh" / "labels.csv")
    settings = TargetSettings(survey="sdss", tables=(table,), columns={"object_id": "objID"})
    targets = select(settings, seed=0, folder=folder, name="targets.parquet")
    assert targets.num_rows == 400
    assert not targets.has_sky
    assert targets.read(0, 400)["object_id"].to_numpy().min() == 1237648702973411443
