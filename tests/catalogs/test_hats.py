from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from skymetal.catalogs.hats import (
    Pixel,
    dataset_metadata,
    format_properties,
    parse_properties,
    partition_info,
    settle_pixels,
)
from skymetal.catalogs.parts import encode_parquet

WHOLE_SKY = 12 << 58


def sky(seed: int, num_rows: int) -> NDArray[np.int64]:
    """Sorted indices: half all over the sky, half in one crowded spot."""
    rng = np.random.default_rng(seed)
    spread = rng.integers(0, WHOLE_SKY, num_rows // 2)
    crowd = (5 << 58) + rng.integers(0, 1 << 30, num_rows - num_rows // 2)
    return np.sort(np.concatenate([spread, crowd]))


def partition(index_N: NDArray[np.int64], max_rows: int) -> list[Pixel]:
    return settle_pixels(lambda index: int(np.searchsorted(index_N, index)), max_rows=max_rows)


def split(index_N: NDArray[np.int64], max_rows: int, order: int, npix: int) -> list[Pixel]:
    """The definition, from the top: an independent way to the same partition."""
    start, stop = npix << 2 * (29 - order), (npix + 1) << 2 * (29 - order)
    num_rows = int(((index_N >= start) & (index_N < stop)).sum())
    if num_rows == 0:
        return []
    if num_rows <= max_rows or order == 29:
        return [Pixel(order=order, npix=npix, num_rows=num_rows)]
    return [pixel for child in range(4) for pixel in split(index_N, max_rows, order + 1, 4 * npix + child)]


@pytest.mark.parametrize("max_rows", [1, 7, 100, 5000])
def test_the_partition_is_the_one_that_splitting_from_the_top_gives(max_rows: int) -> None:
    index_N = sky(1, 600)
    expected = [pixel for npix in range(12) for pixel in split(index_N, max_rows, 0, npix)]
    assert partition(index_N, max_rows) == expected
    assert sum(pixel.num_rows for pixel in expected) == 600


def test_one_overfull_position_stays_one_order_29_pixel() -> None:
    index_N = np.full(10, 123456789, dtype=np.int64)
    assert partition(index_N, 3) == [Pixel(order=29, npix=123456789, num_rows=10)]


def test_a_catalogue_that_fits_one_base_pixel_stays_coarse_and_empty_pixels_are_absent() -> None:
    assert partition(np.array([7 << 58], dtype=np.int64), 10) == [Pixel(order=0, npix=7, num_rows=1)]


def test_a_pixel_knows_its_folder_and_its_range() -> None:
    pixel = Pixel(order=8, npix=254_321, num_rows=1)
    assert pixel.folder == "dataset/Norder=8/Dir=250000/Npix=254321"
    assert (pixel.start, pixel.stop) == (254_321 << 42, 254_322 << 42)


def test_partition_info_lists_the_pixels() -> None:
    pixels = [Pixel(order=1, npix=4, num_rows=2), Pixel(order=0, npix=3, num_rows=9)]
    assert partition_info(pixels) == b"Norder,Npix\n1,4\n0,3\n"


def test_properties_survive_the_round_trip_whatever_their_values_hold() -> None:
    properties = {
        "a": "plain",
        "b": "two = three: #4",
        "c": "back\\slash\nline\ttab",
        "d": "  spaces",
        "e": "",
        "f": "Å",
    }
    assert parse_properties(format_properties(properties)) == properties


def test_the_metadata_files_hold_the_schema_and_every_row_group() -> None:
    schema = pa.schema([pa.field("x", pa.int64(), False, {"unit": "deg"})], metadata={"run": "1"})
    table = pa.table({"x": np.arange(10)}, schema=schema)
    data = encode_parquet(table.replace_schema_metadata({"source": "part"}), row_group_size=4)
    footers = {name: pq.read_metadata(pa.BufferReader(data)) for name in ("a/1.parquet", "b/2.parquet")}
    common = io.BytesIO()
    pq.write_metadata(schema, common)
    total = pq.read_metadata(pa.BufferReader(dataset_metadata(common.getvalue(), footers)))
    assert (total.num_rows, total.num_row_groups) == (20, 6)
    assert total.row_group(5).column(0).file_path == "b/2.parquet"
    assert total.metadata[b"run"] == b"1"
    assert b"source" not in total.metadata
