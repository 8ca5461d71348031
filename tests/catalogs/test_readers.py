"""The published files as other people's tools read them, without skymetal."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from dask import dataframe
from support.made_catalogue import NUM_ROWS, make_table, publish_table

UNITS = {"ra": "deg", "dec": "deg", "oh_p50": "dex", "oh_std_views": "dex"}


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return make_table(1)


@pytest.fixture(scope="module")
def catalogue(table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue with margins wide enough for a crossmatch within a minute of arc."""
    return Path(publish_table(tmp_path_factory.mktemp("run"), table, margin_arcsec=60.0).place)


def same_rows(frame: pd.DataFrame, table: pa.Table) -> None:
    assert len(frame) == NUM_ROWS
    expected = table.to_pandas().sort_values("object_id", ignore_index=True)
    pd.testing.assert_frame_equal(
        frame[table.column_names].sort_values("object_id", ignore_index=True), expected, check_dtype=False
    )


# dask 2026.7.1 under pandas 3.1.
@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame:pandas.errors.Pandas4Warning")
def test_pandas_duckdb_polars_dask_and_pyarrow_read_every_row_and_column(catalogue: Path, table: pa.Table) -> None:
    dataset = catalogue / "tiny" / "dataset"
    same_rows(pd.read_parquet(dataset, columns=table.column_names), table)
    same_rows(duckdb.sql(f"SELECT * FROM '{dataset}/**/*.parquet'").df(), table)
    same_rows(pl.read_parquet(f"{dataset}/**/*.parquet").to_pandas(), table)
    same_rows(dataframe.read_parquet(dataset, columns=table.column_names).compute(scheduler="synchronous"), table)
    same_rows(ds.dataset(dataset, partitioning="hive").to_table().to_pandas(), table)


def test_the_folders_are_hive_keys(catalogue: Path) -> None:
    counts = duckdb.sql(
        f"SELECT Norder, Npix, count(*) FROM read_parquet('{catalogue}/tiny/dataset/**/*.parquet', "
        "hive_partitioning = true) GROUP BY ALL"
    ).fetchall()
    info = pd.read_csv(catalogue / "tiny" / "partition_info.csv")
    assert {(order, npix) for order, npix, _ in counts} == set(zip(info["Norder"], info["Npix"], strict=True))


def test_astropy_reads_a_file_with_units_ucds_and_descriptions(catalogue: Path, table: pa.Table) -> None:
    file = max((catalogue / "tiny" / "dataset").rglob("part-*.parquet"))
    read = Table.read(file, format="parquet.votable")
    assert read.colnames == table.column_names
    assert {name: str(read[name].unit) for name in UNITS} == UNITS
    assert "percentile 50" in read["oh_p50"].description
    assert read["oh_p50"].meta["ucd"] == "phys.abund.Z;stat.median"
    expected = pq.read_table(file, partitioning=None)
    assert read["object_id"].tolist() == expected["object_id"].to_pylist()


def test_arrow_sees_the_unit_of_every_column_that_has_one(catalogue: Path, table: pa.Table) -> None:
    for path in [catalogue / "tiny" / "_metadata", *(catalogue / "tiny" / "dataset").rglob("part-*.parquet")]:
        assert pq.read_schema(path).equals(table.schema, check_metadata=True)


# nested_pandas 0.7.2 under pandas 3.1.
@pytest.mark.filterwarnings("ignore:The inplace keyword in NestedFrame:pandas.errors.Pandas4Warning")
@pytest.mark.filterwarnings("ignore:Right catalog does not have a margin cache:RuntimeWarning")
@pytest.mark.timeout(300)
@pytest.mark.slow
def test_a_crossmatch_by_lsdb_finds_every_pair_thanks_to_the_margins(catalogue: Path, table: pa.Table) -> None:
    lsdb = pytest.importorskip("lsdb")
    rng = np.random.default_rng(2)
    chosen = table.take(pa.array(rng.integers(0, NUM_ROWS, 1500)))
    dec = np.clip(chosen["dec"].to_numpy() + rng.normal(0, 20 / 3600, 1500), -90, 90)
    ra = (chosen["ra"].to_numpy() + rng.normal(0, 20 / 3600, 1500) / np.maximum(np.cos(np.radians(dec)), 1e-3)) % 360
    sources = pd.DataFrame({"source": np.arange(1500), "ra": ra, "dec": dec})
    near, angle, _ = SkyCoord(ra, dec, unit="deg").match_to_catalog_sky(
        SkyCoord(table["ra"].to_numpy(), table["dec"].to_numpy(), unit="deg")
    )
    ids = table["object_id"].to_numpy()[near]
    expected = {int(s): int(i) for s, i, a in zip(sources["source"], ids, angle.arcsec, strict=True) if a <= 60.0}

    def matches(margins: bool) -> dict[int, int]:
        right = lsdb.open_catalog(str(catalogue if margins else catalogue / "tiny"))
        left = lsdb.from_dataframe(sources, lowest_order=4, highest_order=6)
        pairs = left.crossmatch(right, radius_arcsec=60.0, suffixes=("_user", ""), suffix_method="overlapping_columns")
        found = pairs.compute()
        return dict(zip(found["source"].astype(int), found["object_id"].astype(int), strict=True))

    assert matches(margins=True) == expected
    assert matches(margins=False) != expected, "no pair crossed a border: nothing was shown"
