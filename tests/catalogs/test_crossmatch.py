from __future__ import annotations

from pathlib import Path

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from support.made_catalogue import make_table, publish_table

from skymetal.catalogs import crossmatch
from skymetal.catalogs.catalog import Catalog, open_catalog
from skymetal.catalogs.errors import InputError
from skymetal.catalogs.healpix import healpix29


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    run_dir = tmp_path_factory.mktemp("run")
    publish_table(run_dir, make_table(1))
    return open_catalog(run_dir)


def near(table: pa.Table, seed: int, num_rows: int, scatter_deg: float) -> pd.DataFrame:
    """A user's table: some at a galaxy, some a little off, some anywhere."""
    rng = np.random.default_rng(seed)
    chosen = table.take(pa.array(rng.integers(0, table.num_rows, num_rows))).to_pandas()
    scatter_deg = scatter_deg * rng.integers(0, 2, num_rows)
    dec = np.clip(chosen["dec"] + rng.normal(0, 1, num_rows) * scatter_deg, -90, 90)
    ra = (chosen["ra"] + rng.normal(0, 1, num_rows) * scatter_deg / np.maximum(np.cos(np.radians(dec)), 0.01)) % 360
    frame = pd.DataFrame({"name": [f"source {n}" for n in range(num_rows)], "RAJ2000": ra, "DEJ2000": dec})
    frame.loc[:19, ["RAJ2000", "DEJ2000"]] = np.column_stack([rng.uniform(0, 360, 20), rng.uniform(-90, 90, 20)])
    frame.loc[20, ["RAJ2000", "DEJ2000"]] = (359.999999, 0.0)
    frame.loc[21, ["RAJ2000", "DEJ2000"]] = (123.0, 90.0)
    frame.loc[22, ["RAJ2000", "DEJ2000"]] = (0.0, -90.0)
    return frame


def by_astropy(table: pa.Table, user: pd.DataFrame, radius_arcsec: float) -> dict[str, tuple[int, float]]:
    galaxies = SkyCoord(table["ra"].to_numpy(), table["dec"].to_numpy(), unit="deg")
    place, angle, _ = SkyCoord(user["RAJ2000"], user["DEJ2000"], unit="deg").match_to_catalog_sky(galaxies)
    ids = table["object_id"].to_numpy()[place]
    return {
        name: (int(object_id), float(each.arcsec))
        for name, object_id, each in zip(user["name"], ids, angle, strict=True)
        if each <= radius_arcsec * u.arcsec
    }


@pytest.mark.parametrize("radius_arcsec", [0.5, 30.0, 600.0, 3600.0])
def test_the_nearest_galaxy_is_the_one_astropy_finds_at_poles_and_ra_0_too(
    catalog: Catalog, radius_arcsec: float
) -> None:
    user = near(catalog.to_arrow(), 2, 2000, 0.05)
    expected = by_astropy(catalog.to_arrow(), user, radius_arcsec)
    found = catalog.crossmatch(user, radius_arcsec, ra="RAJ2000", dec="DEJ2000", columns=["object_id"])
    assert found.column_names == ["name", "RAJ2000", "DEJ2000", "object_id", "separation_arcsec"]
    matched = {row["name"]: row for row in found.to_pylist()}
    assert {name: row["object_id"] for name, row in matched.items()} == {
        name: each[0] for name, each in expected.items()
    }
    angles = [matched[name]["separation_arcsec"] for name in expected]
    np.testing.assert_allclose(angles, [each[1] for each in expected.values()], atol=1e-6)
    assert 900 < len(expected) < 2000 or radius_arcsec < 1


def test_many_pairs_are_compared_a_few_at_a_time(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    user = near(catalog.to_arrow(), 3, 300, 0.05)
    whole = catalog.crossmatch(user, 3600.0, ra="RAJ2000", dec="DEJ2000")
    monkeypatch.setattr(crossmatch, "PAIRS_AT_ONCE", 50)
    assert catalog.crossmatch(user, 3600.0, ra="RAJ2000", dec="DEJ2000").equals(whole)


def test_rows_without_a_galaxy_are_kept_when_asked_for(catalog: Catalog) -> None:
    galaxy = catalog.to_arrow().slice(40, 1).to_pylist()[0]
    user = pa.table({"id": [7, 8, 9], "ra": [galaxy["ra"], 200.0, None], "dec": [galaxy["dec"], 45.0, 3.0]})
    [row] = catalog.crossmatch(user, 1.0, columns=["object_id", "flags"]).to_pylist()
    assert (row["id"], row["object_id"]) == (7, galaxy["object_id"])
    kept = catalog.crossmatch(user, 1.0, columns=["object_id", "flags"], keep_all=True)
    assert kept["id"].to_pylist() == [7, 8, 9]
    assert kept["object_id"].to_pylist() == [galaxy["object_id"], None, None]
    assert kept["separation_arcsec"].null_count == 2
    assert kept.schema.field("object_id").type == pa.int64(), "ids must not become floats"


def test_a_column_that_both_have_is_told_apart_and_units_stay(catalog: Catalog) -> None:
    user = near(catalog.to_arrow(), 4, 50, 0.0).rename(columns={"RAJ2000": "ra", "DEJ2000": "dec"})
    found = catalog.crossmatch(user, 5.0, columns=["ra", "dec", "oh_p50"])
    assert found.column_names == ["name", "ra", "dec", "ra_skymetal", "dec_skymetal", "oh_p50", "separation_arcsec"]
    assert found.schema.field("oh_p50").metadata[b"unit"] == b"dex"


def test_arrow_pandas_and_astropy_tables_give_the_same(catalog: Catalog) -> None:
    frame = near(catalog.to_arrow(), 5, 100, 0.01)
    tables = [frame, pa.Table.from_pandas(frame), Table.from_pandas(frame)]
    found = [catalog.crossmatch(table, 30.0, ra="RAJ2000", dec="DEJ2000", columns=["object_id"]) for table in tables]
    assert found[0].num_rows > 50
    assert found[0].to_pylist() == found[1].to_pylist() == found[2].to_pylist()


@pytest.mark.parametrize(
    ("user", "radius_arcsec", "words"),
    [
        ({"ra": [1.0, 370.0], "dec": [0.0, 0.0]}, 1.0, "row 1 of the table is not on the sky: ra 370.0, dec 0.0"),
        ({"ra": [1.0], "dec": [91.0]}, 1.0, "row 0 of the table is not on the sky"),
        ({"RA": [1.0], "dec": [0.0]}, 1.0, "the table has no column 'ra'; did you mean 'RA'?"),
        ({"ra": ["12:30:00"], "dec": [0.0]}, 1.0, "column 'ra' of the table holds no degrees"),
        ({"ra": [1.0], "dec": [0.0]}, 0.0, "the radius of a crossmatch must be above 0 and at most 3600 arcsec"),
        ({"ra": [1.0], "dec": [0.0]}, float("nan"), "the radius of a crossmatch must be"),
    ],
)
def test_what_cannot_be_matched_is_refused(
    catalog: Catalog, user: dict[str, list[float]], radius_arcsec: float, words: str
) -> None:
    with pytest.raises(InputError, match=words.replace("?", r"\?")):
        catalog.crossmatch(pa.table(user), radius_arcsec)


def test_what_was_matched_can_be_matched_again_and_no_name_is_there_twice(catalog: Catalog) -> None:
    once = catalog.crossmatch(near(catalog.to_arrow(), 9, 40, 0.0), 5.0, ra="RAJ2000", dec="DEJ2000")
    twice = catalog.crossmatch(once, 5.0, columns=["object_id"])
    assert twice.column_names == [*once.column_names, "object_id_skymetal", "separation_arcsec_skymetal"]
    with pytest.raises(InputError, match="has columns 'object_id' and 'object_id_skymetal' of its own"):
        catalog.crossmatch(twice, 5.0, columns=["object_id"])
    with pytest.raises(InputError, match="column 'ra' is asked for twice"):
        catalog.crossmatch(once, 5.0, columns=["ra", "ra"])


def test_the_name_of_a_row_is_kept(catalog: Catalog) -> None:
    galaxy = catalog.sample(1).to_pandas()
    named = galaxy[["ra", "dec"]].set_index(pd.Index(["NGC 1"], name="name"))
    assert catalog.crossmatch(named, 1.0)["name"].to_pylist() == ["NGC 1"]


def test_a_table_that_is_none_is_refused(catalog: Catalog) -> None:
    with pytest.raises(InputError, match="takes an Arrow, pandas or astropy table, got list"):
        catalog.crossmatch([1, 2], 1.0)


def test_an_empty_table_matches_nothing(catalog: Catalog) -> None:
    user = pa.table({"ra": pa.array([], pa.float64()), "dec": pa.array([], pa.float64())})
    found = catalog.crossmatch(user, 1.0)
    assert found.num_rows == 0
    assert "oh_p50" in found.column_names


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_million_galaxies_and_a_hundred_thousand_sources_match_as_astropy_says(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    num_rows, num_sources = 1_000_000, 100_000
    ra, dec = rng.uniform(0, 360, num_rows), np.degrees(np.arcsin(rng.uniform(-1, 1, num_rows)))
    dec[:20_000] = rng.choice([-1, 1], 20_000) * (90 - np.abs(rng.normal(0, 0.5, 20_000)))
    ra[20_000:40_000] = rng.normal(0, 0.2, 20_000) % 360
    table = make_table(7, positions=(ra, dec))
    publish_table(tmp_path, table, rows_a_part=65_536, max_rows=200_000)
    catalog = open_catalog(tmp_path)
    user = near(table, 8, num_sources, 10 / 3600)
    expected = by_astropy(table, user, 20.0)
    found = catalog.crossmatch(user, 20.0, ra="RAJ2000", dec="DEJ2000", columns=["object_id"])
    matched = dict(zip(found["name"].to_pylist(), found["object_id"].to_pylist(), strict=True))
    assert matched == {name: each[0] for name, each in expected.items()}
    assert len(matched) > 80_000
    assert healpix29(ra, dec).min() >= 0
