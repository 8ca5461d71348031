from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from skymetal.deploy.report.pictures import MAX_SIDE, to_data_uri


def decode(uri: str) -> NDArray[np.uint8]:
    head, _, data = uri.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)


def test_three_bands_come_back_pixel_by_pixel(pixels: NDArray[np.uint8]) -> None:
    assert (decode(to_data_uri(pixels)) == pixels).all()
    assert to_data_uri(pixels) == to_data_uri(pixels.copy())


@pytest.mark.parametrize("num_bands", [1, 2, 5])
def test_other_numbers_of_bands_are_grey(num_bands: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, num_bands)).astype(np.uint8)
    found = decode(to_data_uri(pixels))
    assert (found == np.rint(pixels.mean(axis=2))[..., None]).all()


def test_flux_is_stretched_and_what_is_no_number_is_dark() -> None:
    flux = np.random.default_rng(2).normal(0, 1, (16, 16, 3)).astype(np.float32)
    flux[8, 8] = 1000.0
    flux[0, 0] = np.nan
    found = decode(to_data_uri(flux))
    assert found[8, 8].tolist() == [255, 255, 255]
    assert found[0, 0].max() < 40
    assert decode(to_data_uri(np.zeros((4, 4, 3), np.float32))).max() == 0


def test_large_pictures_are_made_smaller(pixels: NDArray[np.uint8]) -> None:
    large = np.kron(pixels, np.ones((8, 8, 1), np.uint8))
    assert decode(to_data_uri(large)).shape == (MAX_SIDE, MAX_SIDE, 3)
