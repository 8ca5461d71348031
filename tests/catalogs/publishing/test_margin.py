from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from support.made_catalogue import make_table, publish_table

from skymetal.catalogs import hats
from skymetal.catalogs.hats import Pixel, settle_pixels
from skymetal.catalogs.healpix import healpix29, unit_vectors
from skymetal.catalogs.publishing import margin_table
from skymetal.catalogs.publishing.margin import MarginFinder

Sky = tuple[NDArray[np.float64], NDArray[np.float64]]


def crowd(seed: int, num_rows: int, width_deg: float) -> NDArray[np.int64]:
    """Sorted indices of galaxies round the poles, across ra 0, and where the equatorial and polar cells meet."""
    rng = np.random.default_rng(seed)
    turn = np.degrees(np.arcsin(2 / 3))
    spots = [(0.0, 0.0), (0.0, 90.0), (0.0, -90.0), (45.0, turn), (90.0, turn), (315.0, -turn)]
    ra, dec = [], []
    for spot_ra, spot_dec in spots:
        d = np.clip(spot_dec + rng.normal(0, width_deg, num_rows), -90, 90)
        near_pole = abs(spot_dec) == 90
        ra.append(rng.uniform(0, 360, num_rows) if near_pole else (spot_ra + rng.normal(0, width_deg, num_rows)) % 360)
        dec.append(d)
    return np.sort(healpix29(np.concatenate(ra), np.concatenate(dec)))


def partition(index_N: NDArray[np.int64], max_rows: int) -> list[Pixel]:
    return settle_pixels(lambda index: int(np.searchsorted(index_N, index)), max_rows=max_rows)


@pytest.mark.parametrize(("margin_arcsec", "width_deg", "max_rows"), [(10, 0.02, 40), (60, 1.0, 40), (600, 0.5, 15)])
def test_whoever_is_within_the_margin_of_a_galaxy_of_another_pixel_is_in_that_pixels_margin(
    margin_arcsec: float, width_deg: float, max_rows: int
) -> None:
    index_N = crowd(1, 200, width_deg)
    pixels = partition(index_N, max_rows)
    starts = np.array([pixel.start for pixel in pixels])
    pixel_N = np.searchsorted(starts, index_N, side="right") - 1
    margin = {pixel: set(rows.tolist()) for pixel, rows in MarginFinder(pixels, margin_arcsec).find(index_N)}
    vectors = unit_vectors(index_N)
    chord = 2 * np.sin(np.radians(margin_arcsec / 3600) / 2)
    num_pairs = 0
    for row, place in enumerate(pixel_N.tolist()):
        near = np.flatnonzero(np.linalg.norm(vectors - vectors[row], axis=1) <= chord)
        for other in near[pixel_N[near] != place].tolist():
            num_pairs += 1
            assert other in margin[pixels[place]]
    assert num_pairs > 50, "no pixel had a neighbour near enough: nothing was shown"


def test_a_margin_never_holds_the_pixels_own_rows_and_little_that_is_far() -> None:
    index_N = crowd(2, 300, 0.5)
    pixels = partition(index_N, 60)
    vectors = unit_vectors(index_N)
    found = dict(MarginFinder(pixels, 30.0).find(index_N))
    for pixel, rows in found.items():
        inside = (index_N >= pixel.start) & (index_N < pixel.stop)
        assert not inside[rows].any()
        if pixel.order < 13:  # finer pixels are smaller than the margin's cells
            gaps = np.linalg.norm(vectors[rows][:, None] - vectors[inside][None], axis=2).min(axis=1)
            assert len(rows) < 0.2 * len(index_N) or gaps.max() < np.radians(1.0)


def test_rows_given_part_by_part_are_found_alike() -> None:
    index_N = crowd(3, 100, 0.1)
    pixels = partition(index_N, 50)
    finder = MarginFinder(pixels, 60.0)
    whole = {pixel: index_N[rows].tolist() for pixel, rows in finder.find(index_N)}
    pieces: dict[Pixel, list[int]] = {}
    for start in range(0, len(index_N), 37):
        for pixel, rows in finder.find(index_N[start : start + 37]):
            pieces.setdefault(pixel, []).extend(index_N[start : start + 37][rows].tolist())
    assert pieces == whole
    assert list(finder.find(index_N[:0])) == []


@pytest.mark.parametrize("bytes_held", [1 << 20, 500])
def test_the_margin_table_holds_copies_of_rows_under_the_pixels_they_border(
    tmp_path: Path, bytes_held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(margin_table, "BYTES_HELD", bytes_held)
    table = make_table(4)
    receipt = publish_table(tmp_path, table, margin_arcsec=300.0)
    margin = Path(receipt.place) / "tiny_margin_300arcsec"
    properties = hats.parse_properties((margin / "hats.properties").read_bytes())
    assert properties["hats_margin_threshold"] == "300"
    assert properties["hats_primary_table_url"] == "tiny"
    files = list(margin.rglob("part-*.parquet"))
    rows = pa.concat_tables([pq.read_table(file, partitioning=None) for file in files])
    assert int(properties["hats_nrows"]) == rows.num_rows > 50
    originals = table.to_pandas().set_index("object_id")
    copies = rows.to_pandas().set_index("object_id")
    assert copies.drop_duplicates().sort_index().equals(originals.loc[copies.index.unique()].sort_index())
    assert (len(files) > len({file.parent for file in files})) == (bytes_held == 500)


def test_without_a_margin_there_is_no_margin_table(tmp_path: Path) -> None:
    receipt = publish_table(tmp_path, make_table(5), margin_arcsec=0.0)
    assert not list(Path(receipt.place).glob("*margin*"))
    assert "margin" not in (Path(receipt.place) / "collection.properties").read_text()
