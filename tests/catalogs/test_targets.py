from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import LocalFolder
from skymetal.catalogs.targets import ROW_GROUP_SIZE, TargetList, open_targets, write_sorted_targets, write_targets


def make_table(num_rows: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "mass": rng.normal(10, 1, num_rows),
            "object_id": rng.permutation(num_rows) + 1_000_000,
            "dec": rng.uniform(-90, 90, num_rows),
            "ra": rng.uniform(0, 360, num_rows),
        }
    )


def test_galaxies_are_kept_along_the_sky_and_bring_their_columns(folder: LocalFolder) -> None:
    table = make_table(500)
    targets = write_targets(folder, "t.parquet", table, selection={"survey": "x"})
    read = targets.read(0, 500)
    assert read.column_names == ["object_id", "ra", "dec", "_healpix_29", "mass"]
    assert (np.diff(read["_healpix_29"].to_numpy()) >= 0).all()
    assert read.sort_by("object_id").select(table.column_names).equals(table.sort_by("object_id"))
    assert targets.has_sky
    assert targets.selection == {"survey": "x"}


def test_galaxies_without_positions_are_kept_by_object_id(folder: LocalFolder) -> None:
    targets = write_targets(folder, "t.parquet", make_table(50).select(["object_id", "mass"]), selection={})
    assert targets.read(0, 50)["object_id"].to_pylist() == list(range(1_000_000, 1_000_050))
    assert not targets.has_sky


def test_any_range_of_rows_can_be_read(folder: LocalFolder) -> None:
    num_rows = 2 * ROW_GROUP_SIZE + 10
    targets = write_targets(folder, "t.parquet", make_table(num_rows), selection={})
    whole = targets.read(0, num_rows)
    for start, stop in [(0, 1), (ROW_GROUP_SIZE - 1, ROW_GROUP_SIZE + 1), (5, num_rows), (num_rows - 1, num_rows)]:
        assert targets.read(start, stop).equals(whole.slice(start, stop - start))


def test_row_order_in_the_survey_table_does_not_matter(folder: LocalFolder) -> None:
    table = make_table(100)
    first = write_targets(folder, "a.parquet", table, selection={})
    second = write_targets(folder, "b.parquet", table.take(pa.array(range(99, -1, -1))), selection={})
    assert first.digest == second.digest


def test_a_repeated_object_id_is_refused(folder: LocalFolder) -> None:
    table = pa.concat_tables([make_table(10), make_table(10).slice(3, 2)])
    with pytest.raises(InputError, match=r"stands in 2 rows that differ \(2 ids are repeated in all\)"):
        write_targets(folder, "t.parquet", table, selection={})
    assert folder.names("*") == []


def test_rows_that_come_piece_by_piece_are_written_in_whole_row_groups(folder: LocalFolder) -> None:
    table = make_table(2 * ROW_GROUP_SIZE + 5).select(["object_id", "mass"]).sort_by("object_id")
    whole = write_sorted_targets(folder, "a.parquet", [table], table.schema, selection={})
    pieces = [table.slice(start, 3000) for start in range(0, table.num_rows, 3000)]
    listed = write_sorted_targets(folder, "b.parquet", [table.slice(0, 0), *pieces], table.schema, selection={})
    assert [len(group) for group in listed.iter_tables()] == [ROW_GROUP_SIZE, ROW_GROUP_SIZE, 5]
    assert listed.digest == whole.digest


def test_a_list_that_fails_on_the_way_is_not_there(folder: LocalFolder) -> None:
    def broken() -> Iterator[pa.Table]:
        yield make_table(ROW_GROUP_SIZE)
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        write_sorted_targets(folder, "t.parquet", broken(), make_table(1).schema, selection={})
    assert list(folder.path.iterdir()) == []


def test_an_open_list_travels_to_a_worker(folder: LocalFolder) -> None:
    targets = write_targets(folder, "t.parquet", make_table(10), selection={})
    assert targets.num_rows == 10
    assert pickle.loads(pickle.dumps(targets)).read(2, 4).equals(targets.read(2, 4))  # noqa: S301


def test_a_missing_list_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `skymetal select` first"):
        open_targets(tmp_path / "targets.parquet")


def test_no_flipped_bit_in_the_rows_is_read_as_another_row(folder: LocalFolder) -> None:
    targets = write_targets(folder, "t.parquet", make_table(24), selection={})
    clean, rows = Path(str(targets)).read_bytes(), targets.read(0, 24)
    end_of_pages = len(clean) - 8 - int.from_bytes(clean[-8:-4], "little")
    outcomes: set[bool | str] = set()
    for place in np.random.default_rng(0).integers(0, end_of_pages, 200):
        damaged = bytearray(clean)
        damaged[place] ^= 1 << int(place) % 8
        Path(str(targets)).write_bytes(damaged)
        try:
            outcomes.add(TargetList(targets.folder, targets.name).read(0, 24).equals(rows))
        except RuntimeError as error:
            outcomes.add("is damaged" in str(error) and "refused")
    assert outcomes == {True, "refused"}
