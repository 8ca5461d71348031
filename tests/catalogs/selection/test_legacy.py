from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.selection.legacy import adapt_legacy, legacy_key, legacy_object_id
from skymetal.catalogs.selection.select import TargetSettings, select_all
from skymetal.catalogs.storage import LocalFolder


def sweep(**changes: Any) -> pa.Table:
    """Six sources as a DR10 sweep has them."""
    columns: dict[str, Any] = {
        "RELEASE": pa.array([10000] * 6, pa.int16()),
        "BRICKID": pa.array([312906] * 6, pa.int32()),
        "BRICKNAME": ["3145m032"] * 6,
        "OBJID": pa.array(range(6), pa.int32()),
        "TYPE": ["EXP ", "DEV", "SER", "REX", "PSF", "DUP"],
        "RA": np.linspace(314.0, 314.1, 6),
        "DEC": np.full(6, -3.3),
        "MASKBITS": pa.array([0] * 6, pa.int16()),
        "SHAPE_R": pa.array([1.5, 2.5, 3.5, 0.5, 0.0, 0.0], pa.float32()),
        "EBV": [0.1] * 6,
    }
    for band in "GRZ":
        columns[f"FLUX_{band}"] = pa.array([100.0, 10.0, 1.0, 1.0, 1.0, 1.0], pa.float32())
        columns[f"MW_TRANSMISSION_{band}"] = pa.array([1.0, 0.5, 1.0, 1.0, 1.0, 1.0], pa.float32())
    columns |= changes
    return pa.table({name: column for name, column in columns.items() if column is not None})


def adapt(table: pa.Table, *mapped: str) -> pa.Table:
    return adapt_legacy(table, mapped=mapped, where="table t")


def test_ids_are_desi_target_ids_both_ways() -> None:
    release, brickid, objid = (
        np.array([9010, 0, 65535]),
        np.array([515322, 0, 2**20 - 1]),
        np.array([1234, 0, 2**22 - 1]),
    )
    ids = legacy_object_id(release, brickid, objid)
    assert ids.tolist() == [9010 * 2**42 + 515322 * 2**22 + 1234, 0, 2**58 - 1]
    for back, expected in zip(legacy_key(ids), (release, brickid, objid), strict=True):
        assert np.array_equal(back, expected)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ((65536, 0, 0), "release must be 0 to 65535 in a Legacy Survey table, got 65536"),
        ((0, 2**20, 0), "brickid must be 0 to 1048575"),
        ((0, 0, 2**22), "objid must be 0 to 4194303"),
        ((-1, 0, 0), "got -1"),
    ],
)
def test_a_number_beyond_its_bits_is_refused(key: tuple[int, int, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        legacy_object_id(*(np.array([1, number]) for number in key))


@pytest.mark.parametrize("object_id", [-1, 2**58, 2**63 - 1])
def test_an_id_of_something_else_has_no_key(object_id: int) -> None:
    with pytest.raises(InputError, match=f"object_id {object_id} is not the TARGETID"):
        legacy_key(np.array([5, object_id]))


def test_a_sweep_becomes_magnitudes_radii_and_plain_words() -> None:
    table = adapt(sweep())
    assert table["object_id"].to_pylist() == [(10000 << 42) + (312906 << 22) + n for n in range(6)]
    assert table["type"].to_pylist() == ["EXP", "DEV", "SER", "REX", "PSF", "DUP"]
    # 22.5 - 2.5 log10(100); a flux of 10 dimmed by half was 20.
    assert table["mag_g"].to_pylist()[:3] == pytest.approx([17.5, 22.5 - 2.5 * np.log10(20), 22.5], rel=1e-6)
    assert table["mag_i"].to_pylist() == [None] * 6
    assert table["shape_r"].to_pylist() == [1.5, 2.5, 3.5, 0.5, None, None]
    assert "EBV" not in table.column_names


def test_a_flux_that_is_not_positive_has_no_magnitude() -> None:
    table = adapt(
        sweep(FLUX_R=[-1.0, 0.0, None, np.nan, 1.0, np.inf], MW_TRANSMISSION_R=[1.0, 1.0, 1.0, 1.0, 0.0, 1.0])
    )
    assert table["mag_r"].to_pylist() == [None] * 6


def test_names_in_lower_case_mean_the_same() -> None:
    upper = sweep()
    lower = upper.rename_columns([name.lower() for name in upper.column_names])
    assert adapt(lower).equals(adapt(upper))


def test_before_dr9_the_radius_is_that_of_the_fitted_model() -> None:
    old = {"SHAPE_R": None, "SHAPEDEV_R": [4.0] * 6, "SHAPEEXP_R": [2.0] * 6, "FRACDEV": [0.25] * 6}
    table = adapt(sweep(TYPE=["EXP", "DEV", "COMP", "REX", "SIMP", "PSF"], **old))
    assert table["shape_r"].to_pylist() == pytest.approx([2.0, 4.0, 2.5, 2.0, 0.45, None])


def test_labels_and_mapped_columns_are_kept() -> None:
    table = adapt(sweep(Z=[0.1] * 6, OH_P50=[8.9] * 6, TARGET=list("abcdef"), other=[1] * 6), "TARGET")
    assert table["redshift"].to_pylist() == [0.1] * 6
    assert table["oh_p50"].to_pylist() == [8.9] * 6
    assert table["TARGET"].to_pylist() == list("abcdef")
    assert "other" not in table.column_names


def test_a_mapped_column_wins_over_one_that_would_be_computed() -> None:
    table = adapt(sweep(mag_r=[15.0] * 6, mag_i=[16.0] * 6, shape_r=[9.0] * 6), "mag_r", "mag_i", "shape_r")
    assert table["mag_r"].to_pylist() == [15.0] * 6
    assert table["mag_i"].to_pylist() == [16.0] * 6
    assert table["shape_r"].to_pylist() == [9.0] * 6
    assert table["mag_g"].to_pylist()[0] == 17.5
    assert "mag_r" in adapt(sweep(mag_r=[15.0] * 6, MW_TRANSMISSION_R=None), "mag_r").column_names


def test_a_mapped_id_takes_the_place_of_the_three_numbers() -> None:
    table = adapt(sweep(RELEASE=None, BRICKID=None, OBJID=None, object_id=range(6)), "object_id")
    assert table["object_id"].to_pylist() == list(range(6))
    assert table["release"].to_pylist() == [None] * 6


def test_a_source_without_a_number_has_no_id() -> None:
    assert adapt(sweep(OBJID=pa.array([0, None, 2, 3, 4, 5], pa.int32())))["object_id"].null_count == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"RELEASE": None},
            "table t is no Legacy Survey sweep or tractor table: it has no column RELEASE; leave it out",
        ),
        ({"RA": None, "TYPE": None}, "no column RA or TYPE"),
        ({"MW_TRANSMISSION_G": None}, "table t has FLUX_G but no column MW_TRANSMISSION_G"),
        ({"OBJID": [2**22] * 6}, "table t: objid must be 0 to 4194303"),
        ({"RELEASE": ["new"] * 6}, "table t: column RELEASE cannot be used as int64"),
        ({"FLUX_G": ["a\x1b"] * 6}, r"table t: column FLUX_G cannot be used as double: .*'a\\x1b'"),
        ({"SHAPE_R": ["a"] * 6}, "table t: column SHAPE_R cannot be used as double"),
        ({"MASKBITS": [0.5] * 6}, "table t: column MASKBITS cannot be used as int32"),
    ],
)
def test_a_table_that_is_not_of_the_survey_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        adapt(sweep(**changes))


def test_each_legacy_cut_counts_what_it_removes(folder: LocalFolder) -> None:
    bits = pa.array([1, 2, 1 << 5, 1 << 6, 1 << 7, 1 << 10, 0, 0, 0, 0, 0, (1 << 2) | (1 << 12)], pa.int32())
    two = pa.concat_tables([sweep(), sweep(OBJID=pa.array(range(6, 12), pa.int32()))])
    fluxes = {f"FLUX_{band}": [1.0] * 6 + [0.0 if band == b else 1.0 for b in "GRZ"] + [1.0] * 3 for band in "GRZ"}
    words = ["EXP "] * 9 + ["PSF", "", "SER"]
    for name, values in (fluxes | {"MASKBITS": bits, "TYPE": words}).items():
        two = two.set_column(two.column_names.index(name), name, pa.array(values))
    pq.write_table(two, folder.path / "sweep.parquet")
    settings = TargetSettings(survey="legacy", tables=(str(folder.path / "sweep.parquet"),), cuts="legacy-galaxies")
    targets = select_all(settings, seed=0, folder=folder, name="targets.parquet")
    assert targets.read(0, 1)["objid"].to_pylist() == [11]
    assert {cut["cut"]: cut["num_removed"] for cut in targets.selection["removed"]} == {
        "position is on the sky": 0,
        "type is a galaxy's": 2,
        **{f"maskbits has no {b}": 1 for b in ["NPRIMARY", "BRIGHT", "ALLMASK_G", "ALLMASK_R", "ALLMASK_Z", "BAILOUT"]},
        **{f"flux_{band} > 0": 1 for band in "grz"},
        "repeats another row exactly": 0,
    }


def test_a_release_without_masks_cannot_be_cut_by_them(folder: LocalFolder) -> None:
    pq.write_table(sweep(MASKBITS=None), folder.path / "dr7.parquet")
    settings = TargetSettings(survey="legacy", tables=(str(folder.path / "dr7.parquet"),), cuts="legacy-galaxies")
    with pytest.raises(
        InputError, match=r"dr7.parquet, which the cut 'maskbits has no NPRIMARY' .* no column 'maskbits'"
    ):
        select_all(settings, seed=0, folder=folder, name="targets.parquet")


def test_the_real_tables_are_selected_and_the_false_ones_refused_by_name(real_data: Path, folder: LocalFolder) -> None:
    tables = real_data / "legacy-tables"
    settings = TargetSettings(survey="legacy", tables=(str(tables / "*.fits"),), cuts="legacy-galaxies")
    targets = select_all(settings, seed=0, folder=folder, name="targets.parquet")
    removed = {cut["cut"]: cut["num_removed"] for cut in targets.selection["removed"] if cut["num_removed"]}
    assert removed == {"type is a galaxy's": 15, "maskbits has no NPRIMARY": 9}
    assert (targets.selection["rows_in"], targets.num_rows) == (36, 12)
    listed = targets.read(0, 12)
    assert set(listed["type"].to_pylist()) <= {"REX", "EXP", "DEV", "COMP"}
    assert all(14 < magnitude < 25 for magnitude in listed["mag_r"].to_pylist())
    assert all(0 < radius < 30 for radius in listed["shape_r"].to_pylist())
    assert listed["release"].to_pylist() == [8000] * 12
    assert np.array_equal(
        legacy_object_id(*(listed[name].to_numpy() for name in ("release", "brickid", "objid"))),
        listed["object_id"].to_numpy(),
    )
    for false in ("not_a_sweep_file.txt", "not_a_tractor_file.txt"):
        settings = TargetSettings(survey="legacy", tables=(str(tables / "*.fits"), str(tables / false)))
        with pytest.raises(InputError, match=f"table .*{false} is of no known kind"):
            select_all(settings, seed=0, folder=folder, name="other.parquet")
