from __future__ import annotations

import numpy as np

from skymetal.catalogs.flags import Flag
from skymetal.engine.quality import inspect_pixels


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (32, 32, 3)).astype(np.uint8)


def test_an_ordinary_image_is_clean() -> None:
    assert inspect_pixels(noise()) == (Flag(0), "")


def test_an_image_of_one_value_holds_nothing() -> None:
    assert inspect_pixels(np.zeros((8, 8, 3), np.uint8))[1] == "blank: every pixel is 0"
    assert inspect_pixels(np.full((8, 8, 3), 255, np.uint8))[1] == "constant: every pixel is 255"


def test_many_pixels_at_the_top_in_one_band_are_saturated() -> None:
    pixels = noise()
    pixels[:3, :3, 1] = 255
    assert inspect_pixels(pixels) == (Flag(0), "")
    pixels[:6, :6, 1] = 255
    assert inspect_pixels(pixels) == (Flag.SATURATED, "")


def test_an_almost_empty_image_has_low_entropy() -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[0, :10, 0] = 40
    assert inspect_pixels(pixels) == (Flag.LOW_ENTROPY, "")
