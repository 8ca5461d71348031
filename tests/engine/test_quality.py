from __future__ import annotations

import numpy as np
import pytest

from skymetal.catalogs.flags import Flag
from skymetal.engine.quality import inspect_coverage, inspect_pixels

BANDS = ("i", "r", "g")


def inspect(pixels_HWC: np.ndarray) -> tuple[int, str]:
    """Judge one picture, as one of two."""
    flags, reasons = inspect_pixels(np.stack([noise(pixels_HWC.shape).astype(pixels_HWC.dtype), pixels_HWC]), BANDS)
    assert (flags[0], reasons[0]) == (0, "")
    return flags[1], reasons[1]


def noise(shape: tuple[int, ...] = (32, 32, 3)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(np.uint8)


def test_an_ordinary_image_is_clean() -> None:
    assert inspect(noise()) == (Flag(0), "")


def test_an_image_of_one_value_holds_nothing() -> None:
    assert inspect(np.zeros((8, 8, 3), np.uint8)) == (
        Flag.BLANK | Flag.CONSTANT,
        "blank: every pixel is 0",
    )
    white = np.full((8, 8, 3), 255, np.uint8)
    assert inspect(white) == (Flag.CONSTANT, "constant: every pixel is 255")
    assert inspect(np.zeros((8, 8, 3), np.float32))[0] == Flag.BLANK | Flag.CONSTANT
    sepia = np.broadcast_to(np.array([40, 30, 20], np.uint8), (8, 8, 3))
    assert inspect(sepia) == (Flag.CONSTANT, "constant: every pixel is [40, 30, 20]")


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_band_of_one_value_is_missing(dtype: type) -> None:
    pixels = noise().astype(dtype)
    pixels[:, :, 2] = 7
    flags, reason = inspect(pixels)
    assert flags == Flag.MISSING_BAND
    assert reason in ("missing band: every pixel is 7 in g", "missing band: every pixel is 7.0 in g")


def test_pixels_without_data_are_told_from_a_band_without_any() -> None:
    has_data = np.ones((3, 20, 20), bool)
    assert inspect_coverage(has_data, BANDS) == (Flag(0), "")
    has_data[1, :2, :2] = False
    assert inspect_coverage(has_data, BANDS) == (Flag(0), "")
    has_data[1, :2] = False
    assert inspect_coverage(has_data, BANDS) == (Flag.BAD_PIXELS, "")
    has_data[1] = False
    assert inspect_coverage(has_data, BANDS) == (Flag.MISSING_BAND, "missing band: no pixel has data in r")
    assert inspect_coverage(has_data & False, BANDS) == (Flag.BLANK, "blank: no pixel has data in any band")


def test_many_pixels_at_the_top_in_one_band_are_saturated() -> None:
    pixels = noise()
    pixels[:3, :3, 1] = 255
    assert inspect(pixels) == (Flag(0), "")
    pixels[:6, :6, 1] = 255
    assert inspect(pixels) == (Flag.SATURATED, "")


def test_an_almost_empty_image_has_low_entropy() -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[0, :10] = 40
    assert inspect(pixels) == (Flag.LOW_ENTROPY, "")
