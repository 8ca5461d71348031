from __future__ import annotations

import dataclasses
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.selection.select import TableReceipt, TargetSettings, num_tables, select, select_all
from skymetal.catalogs.selection.survey import find_survey
from skymetal.catalogs.storage import LocalFolder
from skymetal.catalogs.targets import ROW_GROUP_SIZE, TargetList, open_targets


def select_csv(folder: LocalFolder, text: str, **settings: Any) -> TargetList:
    folder.write("survey.csv", text.encode())
    table = str(folder.path / "survey.csv")
    return select_all(
        TargetSettings(survey="sdss", tables=(table,), **settings), seed=0, folder=folder, name="targets.parquet"
    )


def test_columns_are_renamed_and_sentinels_become_null(folder: LocalFolder) -> None:
    targets = select_csv(folder, "objID,oh_p50,n\n3,8.5,1\n1,-9999,2\n", columns={"object_id": "objID"})
    assert targets.read(0, 2).to_pydict() == {"object_id": [1, 3], "oh_p50": [None, 8.5], "n": [2, 1]}


def test_integer_sentinels_become_null_too_but_an_id_is_never_touched(folder: LocalFolder) -> None:
    targets = select_csv(folder, "object_id,oh_p50\n-9999,8\n2,-9999\n")
    assert targets.read(0, 2).to_pydict() == {"object_id": [-9999, 2], "oh_p50": [8, None]}


def test_an_index_of_the_sky_without_positions_is_dropped(folder: LocalFolder) -> None:
    targets = select_csv(folder, "object_id,_healpix_29\n1,5\n2,3\n")
    assert not targets.has_sky
    assert targets.column_names == ["object_id"]


def test_a_position_off_the_sky_is_removed_and_counted(folder: LocalFolder) -> None:
    targets = select_csv(folder, "object_id,ra,dec\n1,10,20\n2,400,0\n3,,5\n4,10,-95\n")
    assert targets.num_rows == 1
    assert targets.selection["removed"] == [
        {"cut": "position is on the sky", "num_removed": 3},
        {"cut": "repeats another row exactly", "num_removed": 0},
    ]
    assert (targets.selection["rows_in"], targets.selection["rows_out"]) == (4, 1)


def test_every_cut_of_the_paper_counts_what_it_removes(folder: LocalFolder) -> None:
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
        "rChi2 < 2": 1,
        "0 < zErr < 0.01": 1,
        "redshift > 0.02": 1,
        "oh_p50 is measured": 1,
    }


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("objid,x\n1,2\n", {"columns": {"object_id": "objID"}}, r"has no column 'objID'; did you mean 'objid'\?"),
        ("objid,x\n1,2\n", {}, "has no column 'object_id'; did you mean 'objid'"),
        ("object_id,x\n1,1\n1,2\n", {}, "object_id 1 stands in 2 rows"),
        ("object_id\n1.5\n", {}, "its column is of type double"),
        ("object_id\ntrue\n", {}, "its column is of type bool"),
        ("object_id\n2026-11-23\n", {}, "object_id must be an integer, got '2026-11-23'"),
        ("object_id\n0012x\n", {}, "object_id must be an integer, got '0012x'"),
        ("object_id,ra,dec\n1,true,false\n", {}, "must be in decimal degrees, but its column is of type bool"),
        ("object_id\n99999999999999999999\n", {}, "object_id"),
        ("object_id\n1e18\n", {}, "of type double; ids must not be floating-point numbers, nor .* an exponent"),
        ("object_id\n+7\n", {}, "of type double; ids must not be .* nor in text have a plus sign"),
        ("object_id\n0x10\n16\n", {}, "object_id must be an integer, got '0x10'"),
        ("object_id,RA,dec,ra\n1,2,3,4\n", {}, r"columns 'RA' and 'ra'; say .* \{ra = 'RA', other_ra = 'ra'\}"),
        ("object_id,RA\n1,2\n", {}, "has ra but not the other of ra and dec"),
        ("object_id\n1\n9223372036854775808\n", {}, r"object_id must be an integer below 2\^63"),
        ("object_id,x,x\n1,2,3\n", {}, "has more than one column 'x'"),
        ("object_id,ra\n1,2\n", {}, "has ra but not the other of ra and dec"),
        ("object_id,x\n1,2\n,3\n", {}, "object_id is missing in row 2"),
        ("object_id\nabc\n", {}, "must be an integer"),
        ("object_id,ra,dec\n1,00:42:44,+41:16:09\n", {}, "type string, as in '00:42:44'; convert sexa"),
        ("object_id,ra,dec\n1,10.5,0\n2,unknown,0\n", {}, "ra must be .* of type string, as in 'unknown'; convert"),
        ("object_id,ra,dec\n1,999,0\n", {}, "no galaxy is left of 1: 'position is on the sky' removed 1"),
        ("object_id\n", {}, "has no rows"),
        ("object_id\n1\n", {"cuts": "wu-boada-2019"}, "looks at, has no column 'petroMag_r'"),
        ("object_id,a,b\n1,2,3\n", {"columns": {"b": "a"}}, "two columns of one name"),
    ],
)
def test_a_table_that_cannot_serve_is_refused(
    folder: LocalFolder, text: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        select_csv(folder, text, **settings)
    assert not folder.exists("targets.parquet")
    assert not folder.names("selecting/.writing*")


def test_an_existing_list_is_kept_and_another_selection_refused(folder: LocalFolder) -> None:
    first = select_csv(folder, "object_id\n1\n2\n")
    assert select_csv(folder, "object_id\n1\n2\n").digest == first.digest
    with pytest.raises(InputError, match=r"was selected from other tables: .*survey\.csv is new, or has changed since"):
        select_csv(folder, "object_id\n1\n2\n3\n")
    with pytest.raises(InputError, match="was selected with cuts ="):
        select_csv(folder, "object_id\n1\n2\n", cuts="wu-boada-2019")


def test_a_list_needs_its_tables_no_more_but_heeds_those_that_are_there(folder: LocalFolder) -> None:
    folder.write("tables/a.csv", b"object_id,x\n1,5\n")
    folder.write("tables/b.csv", b"object_id,x\n2,6\n")
    tables, run = folder.path / "tables", folder / "run"

    def again(*names: str) -> str:
        settings = TargetSettings(survey="other", tables=tuple(str(tables / name) for name in names))
        return select_all(settings, seed=0, folder=run, name="t.parquet").digest

    first = again("*.csv")
    (tables / "a.csv").rename(tables / "c.csv")
    assert again("a.csv", "b.csv") == again("*.csv") == again("c.csv", "b.csv") == first
    with pytest.raises(InputError, match=r"was selected from .*b\.csv too, which \[targets\] tables does not name now"):
        again("c.csv")
    (tables / "c.csv").unlink()
    assert again("a.csv", "b.csv") == first
    (tables / "b.csv").rename(folder.path / "b.csv")
    assert again("*.csv") == again(".") == again("b.csv") == first
    folder.write("tables/b.csv", b"object_id,x\n2,7\n")
    with pytest.raises(InputError, match=r"b\.csv is new, or has changed since; delete \S+ to select again, or"):
        again("*.csv")
    folder.write("tables/b.csv", b"object_id,x\n2,6\n")
    folder.write("tables/notes.txt", b"")
    with pytest.raises(InputError, match=r"notes\.txt is of no known kind"):
        again(".")


def test_tables_are_read_again_only_where_their_size_or_time_has_changed(folder: LocalFolder) -> None:
    first = select_csv(folder, "object_id\n1\n2\n").digest
    survey = folder.path / "survey.csv"
    settings = TargetSettings(survey="sdss", tables=(str(survey),))
    time = survey.stat().st_mtime_ns
    survey.write_bytes(b"object_id\n1\n3\n")
    os.utime(survey, ns=(time, time))
    assert select_all(settings, seed=0, folder=folder, name="targets.parquet").digest == first
    os.utime(survey, ns=(time, time + 1))
    with pytest.raises(InputError, match="has changed since"):
        select_all(settings, seed=0, folder=folder, name="targets.parquet")
    survey.write_bytes(b"object_id\n1\n2\n")
    for damaged in (None, b"{", b"[]", b'{"a": 1}', b"\xff"):
        if damaged is None:
            folder.remove("inputs/tables.json")
        else:
            folder.write("inputs/tables.json", damaged)
        assert select_all(settings, seed=0, folder=folder, name="targets.parquet").digest == first
        assert str(survey) in json.loads(folder.read("inputs/tables.json"))


def test_the_list_depends_on_what_is_in_the_tables_not_on_their_names(folder: LocalFolder) -> None:
    tables = [b"object_id,y,x\n1,0.5,-0.0\n", b"object_id,x,z\n1,0.0,7\n4,3,7\n", b"object_id,x,w\n5,1,1\n"]
    tables[0] = b"object_id,x,z\n1,-0.0,7\n9,1,7\n"
    lists = set()
    for order in itertools.permutations(range(3)):
        here = folder / "".join(map(str, order))
        for name, which in zip("abc", order, strict=True):
            here.write(f"{name}.csv", tables[which])
        settings = TargetSettings(survey="other", tables=(str(here.path / "*.csv"),))
        targets = select_all(settings, seed=0, folder=here / "run", name="t.parquet")
        assert targets.selection["removed"][-1]["num_removed"] == 1
        lists.add(targets.digest)
    assert len(lists) == 1


def test_there_are_as_many_receipts_as_tables_and_none_once_the_list_is_there(folder: LocalFolder) -> None:
    settings, _ = three_tables(folder)
    made = TargetSettings(survey="simulated", num_galaxies=5)
    for name, job, expected in (("t.parquet", settings, 3), ("s.parquet", made, 1)):
        for num in (expected, 0):
            assert num_tables(job, folder=folder, name=name) == num
            assert len(list(select(job, seed=0, folder=folder, name=name))) == num
    for path in settings.tables:
        Path(path).unlink()
    assert num_tables(settings, folder=folder, name="t.parquet") == 0


def test_positions_in_capitals_are_positions(folder: LocalFolder) -> None:
    targets = select_csv(folder, "object_id,RA,Dec\n1,10.0,5.0\n2,10.0,5.0\n")
    assert targets.column_names == ["object_id", "ra", "dec", "_healpix_29", "group_id"]
    assert targets.selection["num_grouped"] == 2


def test_capitals_are_left_alone_where_the_job_says_what_the_position_is(folder: LocalFolder) -> None:
    columns = {"ra": "ALPHA", "dec": "DELTA", "DEC": "DEC"}
    targets = select_csv(folder, "object_id,RA,DEC,ALPHA,DELTA\n1,10.0,5.0,20.0,6.0\n", columns=columns)
    assert targets.read(0, 1).select(["ra", "dec", "RA", "DEC"]).to_pylist() == [
        {"ra": 20.0, "dec": 6.0, "RA": 10.0, "DEC": 5.0}
    ]


def test_a_simulated_survey_needs_no_table(tmp_path: Path) -> None:
    settings = TargetSettings(survey="simulated", num_galaxies=50)
    targets = select_all(settings, seed=3, folder=LocalFolder(tmp_path), name="targets.parquet")
    assert targets.num_rows == 50
    assert targets.has_sky
    with pytest.raises(InputError, match="was selected with seed = 3"):
        select_all(settings, seed=4, folder=LocalFolder(tmp_path), name="targets.parquet")


def test_the_real_labels_are_all_selected(real_data: Path, folder: LocalFolder) -> None:
    table = str(real_data / "sdss-oh" / "labels.csv")
    settings = TargetSettings(survey="sdss", tables=(table,), columns={"object_id": "objID"})
    targets = select_all(settings, seed=0, folder=folder, name="targets.parquet")
    assert targets.num_rows == 400
    assert not targets.has_sky
    assert targets.read(0, 400)["object_id"].to_numpy().min() == 1237648702973411443


def write_survey(path: Path, num_rows: int, *, first: int, seed: int) -> pa.Table:
    """Write a Parquet table of galaxies, a tenth of them one arcsecond from the one before."""
    rng = np.random.default_rng(seed)
    ra_N, dec_N = rng.uniform(0, 360, num_rows), np.degrees(np.arcsin(rng.uniform(-1, 1, num_rows)))
    close_N = np.arange(num_rows) % 10 == 1
    ra_N[close_N], dec_N[close_N] = ra_N[np.roll(close_N, -1)], dec_N[np.roll(close_N, -1)] + 1 / 3600
    table = pa.table(
        {
            "object_id": first + rng.permutation(num_rows),
            "ra": ra_N,
            "dec": np.clip(dec_N, -90, 90),
            "oh_p50": np.where(rng.random(num_rows) < 0.2, -9999.0, rng.normal(8.9, 0.2, num_rows)),
            "name": [f"galaxy {n}" for n in range(num_rows)],
        }
    )
    pq.write_table(table, path)
    return table


def three_tables(folder: LocalFolder) -> tuple[TargetSettings, list[pa.Table]]:
    tables = [write_survey(folder.path / f"{n}.parquet", 4000, first=10_000 * n, seed=n) for n in range(3)]
    paths = tuple(str(folder.path / f"{n}.parquet") for n in range(3))
    return TargetSettings(survey="other", tables=paths), tables


def test_several_tables_become_one_list_in_sky_order_with_close_pairs_grouped(folder: LocalFolder) -> None:
    settings, tables = three_tables(folder)
    receipts = list(select(settings, seed=0, folder=folder, name="targets.parquet"))
    assert receipts == [TableReceipt(path=folder.path / f"{n}.parquet", rows_in=4000, rows_kept=4000) for n in range(3)]
    targets = open_targets(folder.path / "targets.parquet")
    assert [len(table) for table in targets.iter_tables()] == [ROW_GROUP_SIZE, 12_000 - ROW_GROUP_SIZE]
    listed = targets.read(0, 12_000)
    assert (np.diff(listed["_healpix_29"].to_numpy()) >= 0).all()
    expected = pa.concat_tables(tables).sort_by("object_id").to_pandas()
    got = listed.sort_by("object_id").select(tables[0].column_names).to_pandas()
    assert got.drop(columns="oh_p50").equals(expected.drop(columns="oh_p50"))
    assert got["oh_p50"].equals(expected["oh_p50"].where(expected["oh_p50"] != -9999))
    groups = listed.group_by("group_id").aggregate([("object_id", "min"), ("object_id", "count")])
    assert groups["group_id"].to_pylist() == groups["object_id_min"].to_pylist()
    assert pc.value_counts(groups["object_id_count"]).to_pylist() == [
        {"values": 1, "counts": 9600},
        {"values": 2, "counts": 1200},
    ]
    assert targets.selection["num_grouped"] == 2400
    assert not folder.exists("selecting")


def test_a_killed_select_goes_on_at_the_next_table_and_writes_the_same_bytes(
    folder: LocalFolder, tmp_path: Path
) -> None:
    settings, _ = three_tables(folder)
    undisturbed = select_all(settings, seed=0, folder=folder / "undisturbed", name="t.parquet")
    assert select_all(settings, seed=0, folder=folder / "again", name="t.parquet").digest == undisturbed.digest
    run = folder / "killed"
    for num_done in (1, 2, 3):
        steps = select(settings, seed=0, folder=run, name="t.parquet")
        for _ in range(num_done):
            next(steps)
        spills = {name: (run.path / name).stat().st_mtime_ns for name in run.names("selecting/*.parquet")}
        assert len(spills) == num_done
        steps.close()
        assert not run.exists("t.parquet")
    steps = select(settings, seed=0, folder=run, name="t.parquet")
    assert [(receipt.rows_in, receipt.rows_kept) for receipt in [next(steps), next(steps), next(steps)]] == 3 * [
        (4000, 4000)
    ]
    assert {name: (run.path / name).stat().st_mtime_ns for name in run.names("selecting/*.parquet")} == spills
    assert list(steps) == []
    assert open_targets(run.path / "t.parquet").digest == undisturbed.digest
    assert list(select(settings, seed=0, folder=run, name="t.parquet")) == []


def test_a_damaged_spill_is_made_again_and_one_of_other_settings_is_not_used(folder: LocalFolder) -> None:
    settings, _ = three_tables(folder)
    undisturbed = select_all(settings, seed=0, folder=folder / "undisturbed", name="t.parquet")
    run = folder / "run"
    others = select(dataclasses.replace(settings, columns={"alias": "name"}), seed=0, folder=run, name="t.parquet")
    next(others)
    others.close()
    steps = select(settings, seed=0, folder=run, name="t.parquet")
    next(steps)
    steps.close()
    assert len(run.names("selecting/*.parquet")) == 2
    for name in run.names("selecting/*.parquet"):
        run.write(name, run.read(name)[:1000])
    assert select_all(settings, seed=0, folder=run, name="t.parquet").digest == undisturbed.digest
    assert not run.exists("selecting")


def test_rows_of_overlapping_files_are_counted_once_each_and_all_add_up(folder: LocalFolder) -> None:
    table = write_survey(folder.path / "a.parquet", 500, first=0, seed=0)
    pq.write_table(table.slice(100, 300), folder.path / "b.parquet")
    pq.write_table(table.slice(350, 10), folder.path / "c.parquet")
    settings = TargetSettings(survey="other", tables=(str(folder.path / "*.parquet"),))
    targets = select_all(settings, seed=0, folder=folder / "run", name="t.parquet")
    assert targets.num_rows == 500
    assert targets.selection["removed"][-1] == {"cut": "repeats another row exactly", "num_removed": 310}
    moved = table.slice(7, 1).set_column(1, "ra", pa.array([5.0]))
    pq.write_table(pa.concat_tables([table, moved]), folder.path / "a.parquet")
    with pytest.raises(InputError, match=f"object_id {moved['object_id'][0]} stands in 2 rows that differ"):
        select_all(settings, seed=0, folder=folder / "other", name="t.parquet")


def test_tables_with_other_columns_and_types_come_together(folder: LocalFolder) -> None:
    folder.write("tables/a.csv", b"object_id,x,specObjID,only\n3,1,5,a\n1,2,,b\n")
    folder.write("tables/b.csv", b"object_id,x,specObjID\n2,0.5,18446744073709551615\n")
    settings = TargetSettings(survey="sdss", tables=(str(folder.path / "tables"),))
    targets = select_all(settings, seed=0, folder=folder / "run", name="t.parquet")
    assert targets.read(0, 3).to_pydict() == {
        "object_id": [1, 2, 3],
        "x": [2.0, 0.5, 1.0],
        "specObjID": [None, 2**64 - 1, 5],
        "only": ["b", None, "a"],
    }
    folder.write("tables/b.csv", b"object_id,x\n2,word\n")
    with pytest.raises(
        InputError, match=r"column 'x' is of type int64 in table .*a.csv but of type string in table .*b"
    ):
        select_all(settings, seed=0, folder=folder / "other", name="t.parquet")


def test_one_bad_table_of_many_is_refused_before_any_work(folder: LocalFolder) -> None:
    settings, _ = three_tables(folder)
    (folder.path / "3.parquet").write_bytes(b"PAR1")
    settings = dataclasses.replace(settings, tables=(*settings.tables, str(folder.path / "3.parquet")))
    with pytest.raises(InputError, match=r"table .*3\.parquet cannot be read"):
        next(select(settings, seed=0, folder=folder / "run", name="t.parquet"))
    assert not folder.exists("run/selecting")


def test_a_table_that_grows_while_it_is_read_is_refused(folder: LocalFolder) -> None:
    settings, _ = three_tables(folder)
    survey = find_survey(settings, seed=0, folder=folder)
    before = survey.tables[1].fingerprint()
    write_survey(folder.path / "1.parquet", 4001, first=0, seed=1)
    assert survey.tables[1].fingerprint() != before


@pytest.mark.parametrize("num_rows", [0, 1])
def test_no_rows_are_refused_and_one_row_is_a_list(folder: LocalFolder, num_rows: int) -> None:
    table = write_survey(folder.path / "t.parquet", 2, first=5, seed=0).slice(0, num_rows)
    pq.write_table(table, folder.path / "t.parquet")
    settings = TargetSettings(survey="other", tables=(str(folder.path / "t.parquet"),))
    if not num_rows:
        with pytest.raises(
            InputError, match=r"the survey table has no rows: table .*t\.parquet; give one with galaxies"
        ):
            select_all(settings, seed=0, folder=folder, name="targets.parquet")
        return
    targets = select_all(settings, seed=0, folder=folder, name="targets.parquet")
    assert targets.read(0, 1)["object_id"].to_pylist() == table["object_id"].to_pylist()


def test_words_in_a_column_are_carried_as_they_are(folder: LocalFolder) -> None:
    words = ["../../etc/passwd", "a\x00b", "line\nbreak", "=cmd()", "x" * 1_000_000, "\x1b[31m", "ångström", None]
    pq.write_table(pa.table({"object_id": range(8), "name": words}), folder.path / "t.parquet")
    settings = TargetSettings(survey="other", tables=(str(folder.path / "t.parquet"),))
    targets = select_all(settings, seed=0, folder=folder, name="targets.parquet")
    assert targets.read(0, 8)["name"].to_pylist() == words


MEASURE = """
import resource, sys
from pathlib import Path
from skymetal.catalogs.selection.select import TargetSettings, select_all
from skymetal.catalogs.storage import LocalFolder
import skymetal.catalogs.selection.survey
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
run = LocalFolder(Path(sys.argv[2]))
targets = select_all(TargetSettings(survey="other", tables=(sys.argv[1],)), seed=0, folder=run, name="t.parquet")
print(targets.num_rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def write_noise(path: Path, num_pieces: int) -> None:
    """Write num_pieces times 200 000 rows of 23 columns, 35 MB each, in no order."""
    names = ["ra", "dec", *(f"x{n}" for n in range(20))]
    schema = pa.schema([("object_id", pa.int64()), *((name, pa.float64()) for name in names)])
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for piece in range(num_pieces):
            rng = np.random.default_rng(piece)
            columns = [
                np.arange(200_000) + piece * 200_000,
                rng.uniform(0, 360, 200_000),
                rng.uniform(-90, 90, 200_000),
            ]
            writer.write_table(
                pa.table([*columns, *rng.normal(size=(20, 200_000))], schema=schema), row_group_size=50_000
            )


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    grown_mb = {}
    for num_pieces in (1, 5):
        write_noise(tmp_path / f"{num_pieces}.parquet", num_pieces)
        command = [
            sys.executable,
            "-c",
            MEASURE,
            str(tmp_path / f"{num_pieces}.parquet"),
            str(tmp_path / f"{num_pieces}"),
        ]
        result = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)
        num_rows, grown_mb[num_pieces] = map(int, result.stdout.split())
        assert num_rows == num_pieces * 200_000
    # Four pieces, 140 MB, more: 24 bytes a target are 19 MB of them, and what stays free inside the allocator.
    more_mb = 4 * 200_000 * 23 * 8 >> 20
    assert grown_mb[5] - grown_mb[1] < 0.5 * more_mb, grown_mb
