from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.engine.framing import Framing, resample


def test_petro5_is_a_box_of_5_05_petrosian_radii() -> None:
    rule = Framing(size_pix=128, size_rule="petro5")
    table = pa.table({"petroR90_r": [5.0, None, -1.0, float("nan"), float("inf")]})
    scales = rule.pixel_scales(table)
    assert scales[0] * 128 == pytest.approx(25.25)
    assert np.isnan(scales[1:]).all()
    assert np.isnan(rule.pixel_scales(pa.table({"object_id": [1, 2]}))).all()
    with pytest.raises(InputError, match="needs the column petroR90_r"):
        rule.check_columns(pa.schema([("ra", pa.float64())]))
    rule.check_columns(pa.schema([("ra", pa.float64())]), must_exist=False)


@pytest.mark.parametrize("kind", [pa.string(), pa.bool_(), pa.binary()])
def test_a_size_that_is_no_number_is_refused_by_its_type(kind: pa.DataType) -> None:
    rule = Framing(size_pix=128, size_rule="petro5")
    with pytest.raises(InputError, match=f"needs petroR90_r in arcsec, but its column is of type {kind}; see that"):
        rule.check_columns(pa.schema([("petroR90_r", kind)]), must_exist=False)
    for number in (pa.int16(), pa.uint64(), pa.float32(), pa.decimal128(5, 2), pa.null()):
        rule.check_columns(pa.schema([("petroR90_r", number)]))


def test_a_fixed_scale_is_the_same_for_all_and_needs_no_column() -> None:
    rule = Framing(size_pix=64, size_rule="fixed", pixel_scale_arcsec=0.262)
    rule.check_columns(pa.schema([("object_id", pa.int64()), ("petroR90_r", pa.string())]))
    assert rule.pixel_scales(pa.table({"object_id": [1, 2]})).tolist() == [0.262, 0.262]
    assert str(rule) == "0.262 arcsec/pixel"


def blob(size: int, x: float, y: float, width: float) -> np.ndarray:
    """A Gaussian centred at pixel coordinates where (0, 0) is the outer corner of the first pixel."""
    rows, columns = np.mgrid[:size, :size] + 0.5
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * width**2)).astype(np.float32)[None]


def centroid(image_HW: np.ndarray) -> tuple[float, float]:
    rows, columns = np.mgrid[: len(image_HW), : len(image_HW)] + 0.5
    return float((columns * image_HW).sum() / image_HW.sum()), float((rows * image_HW).sum() / image_HW.sum())


@pytest.mark.parametrize("half", [10.0, 17.3, 28.0])
def test_what_is_at_the_middle_of_the_box_is_at_the_middle_of_the_cutout(half: float) -> None:
    planes = blob(100, 41.37, 52.81, 2.5)
    box = (41.37 - half, 52.81 - half, 41.37 + half, 52.81 + half)
    cutout = resample(planes, box=box, size_pix=32)
    assert cutout.shape == (32, 32, 1)
    assert centroid(cutout[:, :, 0]) == pytest.approx((16, 16), abs=0.1)


def test_surface_brightness_is_kept_and_a_box_of_the_same_size_is_not_resampled() -> None:
    planes = np.full((2, 40, 40), 3.5, np.float32)
    assert resample(planes, box=(3.3, 4.1, 30.3, 31.1), size_pix=9) == pytest.approx(3.5)
    noise = np.random.default_rng(1).normal(size=(2, 40, 40)).astype(np.float32)
    same = resample(noise, box=(5, 6, 25, 26), size_pix=20)
    assert np.array_equal(same, noise[:, 6:26, 5:25].transpose(1, 2, 0))


def test_no_data_stays_no_data_and_does_not_darken_its_neighbours() -> None:
    planes = np.full((1, 40, 40), 2.0, np.float32)
    planes[0, :, :13] = np.nan
    cutout = resample(planes, box=(0, 0, 40, 40), size_pix=20)[:, :, 0]
    assert np.isnan(cutout[:, :6]).all()
    assert np.allclose(cutout[:, 7:], 2.0)
