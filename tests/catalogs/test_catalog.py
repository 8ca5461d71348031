from __future__ import annotations

import shutil
from pathlib import Path

import astropy.units as u
import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from support.made_catalogue import NUM_ROWS, make_table, publish_table

from skymetal.catalogs.catalog import Catalog, open_catalog
from skymetal.catalogs.errors import InputError
from skymetal.catalogs.healpix import healpix29
from skymetal.catalogs.publishing import file_plan
from skymetal.catalogs.region import cone_ranges


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return make_table(1)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory, table: pa.Table) -> Path:
    path = tmp_path_factory.mktemp("run")
    publish_table(path, table)
    return path


@pytest.fixture(scope="module")
def catalog(run_dir: Path) -> Catalog:
    return open_catalog(run_dir)


def ids_within(table: pa.Table, ra: float, dec: float, radius_arcsec: float) -> set[int]:
    """Brute force, by astropy."""
    places = SkyCoord(table["ra"].to_numpy(), table["dec"].to_numpy(), unit="deg")
    near = places.separation(SkyCoord(ra, dec, unit="deg")).arcsec <= radius_arcsec
    return set(table["object_id"].to_numpy()[near].tolist())


def test_a_catalogue_opens_by_run_directory_link_and_version_alike(run_dir: Path, table: pa.Table) -> None:
    version = (run_dir / "catalogue").resolve()
    for path in (run_dir, str(run_dir / "catalogue"), version):
        catalog = open_catalog(path)
        assert catalog.path == version
        assert (catalog.name, catalog.num_rows, catalog.has_sky) == ("tiny", NUM_ROWS, True)
        assert catalog.schema.equals(table.schema)
        assert catalog.properties["skymetal_job"] == "a = b, é"


def test_all_rows_come_back_in_sky_order(catalog: Catalog, table: pa.Table) -> None:
    assert catalog.to_arrow().equals(table)
    pd.testing.assert_frame_equal(
        catalog.to_pandas(["oh_p50", "object_id"]), table.to_pandas()[["oh_p50", "object_id"]]
    )


def test_columns_keep_their_units_however_they_are_read(catalog: Catalog) -> None:
    for table in (
        catalog.to_arrow(["oh_p50"]),
        next(catalog.iter_tables(["oh_p50"])),
        catalog.cone(0.0, 0.0, 3600.0, columns=["oh_p50"]),
        catalog.box((0.0, 1.0), (0.0, 1.0), columns=["oh_p50"]),
        catalog.sample(3, columns=["oh_p50"]),
    ):
        assert table.schema.field("oh_p50").metadata[b"unit"] == b"dex"


def test_an_unknown_column_is_named_with_the_near_one(catalog: Catalog) -> None:
    with pytest.raises(InputError, match="no column 'oh_p5'; did you mean 'oh_p50'"):
        catalog.to_arrow(["oh_p5"])


CONES = [
    (0.0, 0.0, 600.0),
    (359.999, 0.3, 3000.0),
    (360.0, -1.0, 2000.0),
    (10.0, 90.0, 1000.0),
    (0.0, 89.5, 2500.0),
    (200.0, -90.0, 4000.0),
    (90.0, -89.9, 900.0),
    (45.0, 20.0, 60.0),
    (0.0, 0.0, 0.001),
    (0.0, 0.0, 400_000.0),
    (123.0, 45.0, 648_000.0),
]


@pytest.mark.parametrize(("ra", "dec", "radius"), CONES)
def test_a_cone_holds_what_brute_force_finds(
    catalog: Catalog, table: pa.Table, ra: float, dec: float, radius: float
) -> None:
    found = catalog.cone(ra, dec, radius)
    assert set(found["object_id"].to_pylist()) == ids_within(table, ra, dec, radius)
    assert found.schema.equals(table.schema)


def test_the_cones_above_are_worth_testing(table: pa.Table) -> None:
    sizes = [len(ids_within(table, *cone)) for cone in CONES]
    assert sum(0 < size < NUM_ROWS // 3 for size in sizes) >= 7
    assert (min(sizes), max(sizes)) == (0, NUM_ROWS)


def test_positions_at_and_just_inside_a_cone_are_always_within_its_ranges() -> None:
    rng = np.random.default_rng(5)
    for radius in 10.0 ** rng.uniform(-2, 5.5, 60):
        ra, dec = rng.uniform(0, 360), float(np.degrees(np.arcsin(rng.uniform(-1, 1))))
        rim = SkyCoord(ra, dec, unit="deg").directional_offset_by(
            rng.uniform(0, 360, 200) * u.deg, radius * rng.random(200) ** 0.1 * u.arcsec
        )
        index = healpix29(np.mod(rim.ra.deg, 360.0), rim.dec.deg)
        ranges = cone_ranges(ra, dec, radius)
        place = np.searchsorted(ranges[:, 0], index, side="right") - 1
        assert (place >= 0).all()
        assert (index < ranges[place, 1]).all()


@pytest.mark.parametrize(
    ("ra", "dec"),
    [
        ((359.0, 1.0), (-1.0, 1.0)),
        ((0.0, 1.5), (-0.5, 0.5)),
        ((358.5, 360.0), (-2.0, 2.0)),
        ((0.0, 360.0), (88.0, 89.5)),
        ((0.0, 360.0), (-90.0, 90.0)),
        ((350.0, 190.0), (89.0, 90.0)),
        ((10.0, 200.0), (-90.0, -89.0)),
        ((200.0, 10.0), (-90.0, -89.999)),
        ((0.5, 0.5), (-2.0, 2.0)),
        ((120.0, 130.0), (20.0, 30.0)),
        ((1.0, 359.0), (-90.0, 90.0)),
    ],
)
def test_a_box_holds_what_brute_force_finds(
    catalog: Catalog, table: pa.Table, ra: tuple[float, float], dec: tuple[float, float]
) -> None:
    ra_N, dec_N = table["ra"].to_numpy(), table["dec"].to_numpy()
    width = ra[1] - ra[0] if ra[1] >= ra[0] else ra[1] - ra[0] + 360.0
    is_inside_N = ((ra_N - ra[0]) % 360.0 <= width) & (dec_N >= dec[0]) & (dec_N <= dec[1])
    assert catalog.box(ra, dec).equals(table.filter(pa.array(is_inside_N)))


def test_a_box_across_ra_0_holds_galaxies_on_both_sides_and_its_borders(catalog: Catalog, table: pa.Table) -> None:
    found = catalog.box((359.0, 1.0), (-1.0, 1.0), columns=["ra"])["ra"].to_numpy()
    assert (found > 300).any()
    assert (found < 60).any()
    row = table.slice(7, 1).to_pylist()[0]
    on_border = catalog.box((row["ra"], row["ra"]), (row["dec"], row["dec"]))
    assert row["object_id"] in on_border["object_id"].to_pylist()


@pytest.mark.parametrize(
    ("ra", "dec", "words"),
    [
        (
            (-10.0, 10.0),
            (0.0, 1.0),
            "ra must be from 0 to 360 degrees, got -10.0 to 10.0; across 0",
        ),
        ((0.0, 10.0), (1.0, 0.0), "the lower first, got 1.0 to 0.0"),
        ((0.0, float("nan")), (0.0, 1.0), "ra must be from 0 to 360"),
        ((0.0, 1.0), (0.0, 91.0), "dec must be from -90 to 90"),
    ],
)
def test_a_box_that_is_not_on_the_sky_is_refused(
    catalog: Catalog, ra: tuple[float, float], dec: tuple[float, float], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        catalog.box(ra, dec)


def test_a_sample_depends_on_the_seed_and_the_galaxies_alone(catalog: Catalog, table: pa.Table, tmp_path: Path) -> None:
    publish_table(tmp_path, table, rows_a_part=100, max_rows=50)
    sample = catalog.sample(200, seed=3)
    assert sample.num_rows == len(set(sample["object_id"].to_pylist())) == 200
    assert open_catalog(tmp_path).sample(200, seed=3).equals(sample)
    assert not catalog.sample(200, seed=4).equals(sample)
    assert set(catalog.sample(20, seed=3)["object_id"].to_pylist()) <= set(sample["object_id"].to_pylist())
    assert catalog.sample(10**6).equals(table)
    assert catalog.sample(0, columns=["oh_p50"]).num_rows == 0
    with pytest.raises(InputError, match="0 galaxies or more, got -1"):
        catalog.sample(-1)


def test_a_sample_is_spread_evenly_over_the_catalogue(catalog: Catalog, table: pa.Table) -> None:
    places = np.flatnonzero(np.isin(table["object_id"].to_numpy(), catalog.sample(600)["object_id"].to_numpy()))
    counts = np.histogram(places, bins=10, range=(0, NUM_ROWS))[0]
    assert counts.min() > 35
    assert counts.max() < 90


def test_dask_and_duckdb_read_every_row_and_column(catalog: Catalog, table: pa.Table) -> None:
    frame = catalog.to_dask()
    assert frame.npartitions > 5
    pd.testing.assert_frame_equal(frame.compute(scheduler="synchronous").reset_index(drop=True), table.to_pandas())
    assert catalog.to_dask(["oh_p50"]).oh_p50.mean().compute(scheduler="synchronous") == pytest.approx(
        table.to_pandas().oh_p50.mean()
    )
    relation = catalog.to_duckdb(duckdb.connect())
    assert relation.to_arrow_table().num_rows == NUM_ROWS
    assert relation.columns == table.column_names


def test_the_folder_of_the_table_opens_the_catalogue_too(run_dir: Path) -> None:
    assert open_catalog(run_dir / "catalogue" / "tiny").version == open_catalog(run_dir).version


@pytest.mark.parametrize(
    ("cone", "text"),
    [
        ((-0.1, 0.0, 1.0), "ra must be from 0 to 360 degrees, got -0.1"),
        ((360.1, 0.0, 1.0), "ra must be"),
        ((float("nan"), 0.0, 1.0), "ra must be"),
        ((0.0, 91.0, 1.0), "dec must be"),
        ((0.0, float("nan"), 1.0), "dec must be"),
        ((0.0, 0.0, 0.0), "radius must be"),
        ((0.0, 0.0, float("inf")), "radius must be"),
        ((0.0, 0.0, float("nan")), "radius must be"),
    ],
)
def test_a_cone_that_is_not_on_the_sky_is_refused(
    catalog: Catalog, cone: tuple[float, float, float], text: str
) -> None:
    with pytest.raises(InputError, match=text):
        catalog.cone(*cone)


def test_sql_sees_every_row_and_column(catalog: Catalog, table: pa.Table) -> None:
    answer = catalog.sql("SELECT count(*) AS n, sum(object_id::HUGEINT)::VARCHAR AS s FROM catalogue WHERE dec > 80;")
    is_north = table["dec"].to_numpy() > 80
    ids = table["object_id"].to_numpy()[is_north].tolist()
    assert answer.to_pylist() == [{"n": len(ids), "s": str(sum(ids))}]
    assert catalog.sql("SELECT * FROM catalogue").cast(table.schema).equals(table)
    assert [row["column_name"] for row in catalog.sql("DESCRIBE catalogue").to_pylist()] == table.column_names


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("DROP VIEW catalogue", "one SELECT statement over catalogue, got DROP"),
        ("SELECT oh_p5 FROM catalogue", 'the query failed: Binder Error.* Candidate bindings: "oh_p50"'),
        ("SELECT * FROM elsewhere", "Catalog Error: Table with name elsewhere does not exist"),
    ],
)
def test_sql_refuses_all_but_one_select_over_the_catalogue(catalog: Catalog, query: str, text: str) -> None:
    with pytest.raises(InputError, match=text):
        catalog.sql(query)


def test_an_open_catalogue_stays_the_version_it_was(tmp_path: Path) -> None:
    old_table, new_table = make_table(2), make_table(3)
    publish_table(tmp_path, old_table)
    catalog = open_catalog(tmp_path / "catalogue")
    shutil.rmtree(tmp_path / "parts")
    publish_table(tmp_path, new_table)
    assert catalog.to_arrow().equals(old_table)
    assert open_catalog(tmp_path / "catalogue").to_arrow().equals(new_table)


def test_a_catalogue_without_positions_reads_and_answers_sql_but_has_no_cones(tmp_path: Path) -> None:
    table = make_table(4, has_sky=False)
    publish_table(tmp_path, table)
    catalog = open_catalog(tmp_path)
    assert not catalog.has_sky
    assert catalog.to_arrow().equals(table)
    assert catalog.sql("SELECT count(*) AS n FROM catalogue").to_pylist() == [{"n": NUM_ROWS}]
    with pytest.raises(InputError, match="no sky positions"):
        catalog.cone(0.0, 0.0, 1.0)


def test_what_is_no_catalogue_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing is there"):
        open_catalog(tmp_path / "absent")
    with pytest.raises(InputError, match="it is empty; give a run directory"):
        open_catalog(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match=r"it holds notes\.txt"):
        open_catalog(tmp_path)
    (tmp_path / "parts").mkdir()
    with pytest.raises(InputError, match="not published yet; run `skymetal publish`"):
        open_catalog(tmp_path)
    with pytest.raises(InputError, match="only s3:// URLs and local paths can be folders"):
        open_catalog("https://example.org/catalogue")
    (tmp_path / "hats.properties").write_text("obs_collection=other\n")
    with pytest.raises(InputError, match="no catalogue that skymetal wrote"):
        open_catalog(tmp_path)


def test_a_version_that_is_being_built_is_not_opened(tmp_path: Path) -> None:
    receipt = publish_table(tmp_path, make_table(6))
    building = tmp_path / "versions" / f".building-{receipt.version}"
    Path(receipt.place).resolve().rename(building)
    with pytest.raises(InputError, match="half built"):
        open_catalog(building)
    with pytest.raises(InputError, match="not published yet"):
        open_catalog(tmp_path)


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A run whose catalogue has one flipped bit in the first column of its largest file."""
    publish_table(tmp_path, make_table(7))
    file = max((tmp_path / "catalogue").rglob("part-*.parquet"), key=lambda path: path.stat().st_size)
    place = pq.read_metadata(file).row_group(0).column(0)
    data = bytearray(file.read_bytes())
    data[place.data_page_offset + place.total_compressed_size // 2] ^= 1
    file.write_bytes(data)
    return tmp_path


def test_a_flipped_bit_is_noticed_and_is_not_called_the_users_mistake(damaged: Path) -> None:
    catalog = open_catalog(damaged)
    with pytest.raises(RuntimeError, match=r"is damaged.*CRC"):
        catalog.to_arrow()
    with pytest.raises(RuntimeError, match=r"is damaged.*CRC"):
        catalog.sql("SELECT max(object_id) FROM catalogue")
    with pytest.raises(RuntimeError, match=r"is damaged.*CRC"):
        catalog.cone(0.0, 0.0, 648_000.0)


def test_a_missing_file_is_noticed(damaged: Path) -> None:
    next((damaged / "catalogue").rglob("part-*.parquet")).unlink()
    with pytest.raises(RuntimeError, match="is damaged"):
        open_catalog(damaged).to_arrow(["object_id"])


# nested_pandas 0.7.2 under pandas 3.1.
@pytest.mark.filterwarnings("ignore:The inplace keyword in NestedFrame:pandas.errors.Pandas4Warning")
def test_lsdb_opens_it_and_finds_the_same_cone(run_dir: Path, table: pa.Table) -> None:
    lsdb = pytest.importorskip("lsdb")
    catalog = lsdb.open_catalog(str(run_dir / "catalogue"))
    assert len(catalog) == NUM_ROWS
    assert set(catalog.compute()["object_id"]) == set(table["object_id"].to_pylist())
    for ra, dec, radius in [(0.1, 0.2, 2000.0), (30.0, 89.8, 1500.0)]:
        found = catalog.cone_search(ra=ra, dec=dec, radius_arcsec=radius).compute()
        assert set(found["object_id"]) == ids_within(table, ra, dec, radius) != set()


def test_the_catalogue_passes_the_strict_check_of_hats_with_several_files_a_pixel_too(
    tmp_path: Path, table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    validation = pytest.importorskip("hats.io.validation")
    monkeypatch.setattr(file_plan, "FILE_ROWS", 100)
    receipt = publish_table(tmp_path, table, rows_a_part=60)
    files = list((Path(receipt.place) / "tiny" / "dataset").rglob("part-*.parquet"))
    assert len(files) > len({file.parent for file in files}), "no pixel has several files: nothing would be shown"
    assert validation.is_valid_catalog(Path(receipt.place).resolve(), strict=True)
