from __future__ import annotations

import numpy as np
import pytest
import torch
from support.tiny_training import SPEC

from skymetal.engine.pixels import IMAGENET, IMAGENET_MEAN, IMAGENET_STD, Normalisation
from skymetal.train.network.augment import augment, draw
from skymetal.train.network.inputs import NetworkInput
from skymetal.train.network.show import show
from skymetal.train.recipe import Augmentation


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3)).astype(np.uint8))


def test_pixels_are_normalised_as_the_engine_says(images: torch.Tensor) -> None:
    wanted = (images.numpy() / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    got = show(NetworkInput(), images, IMAGENET, SPEC)
    assert np.allclose(got.permute(0, 2, 3, 1).numpy(), wanted, atol=1e-5)
    assert got.is_contiguous(memory_format=torch.channels_last)


def test_bands_that_are_mixed_are_so_pixel_by_pixel(images: torch.Tensor) -> None:
    matrix = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0], [0.25, 0.0, -1.0]])
    normalisation = Normalisation(mean=(1.0, 2.0, 3.0), matrix=tuple(map(tuple, matrix.tolist())), softening=4.0)
    wanted = (np.log1p(images.numpy() / 4) - np.array([1.0, 2.0, 3.0])) @ matrix.T
    got = show(NetworkInput(), images, normalisation, SPEC)
    assert np.allclose(got.permute(0, 2, 3, 1).numpy(), wanted, atol=1e-5)
    assert torch.equal(show(NetworkInput(), images[3:4], normalisation, SPEC), got[3:4])


def test_one_band_takes_the_place_of_all(images: torch.Tensor) -> None:
    shown = show(NetworkInput(band="r"), images, IMAGENET, SPEC)
    thrice = images[..., 1:2].repeat(1, 1, 1, 3)
    assert torch.equal(shown, show(NetworkInput(), thrice, IMAGENET, SPEC))


def test_light_that_changes_nothing_changes_no_band_shown_thrice(images: torch.Tensor) -> None:
    shown = show(NetworkInput(band="r"), images, IMAGENET, SPEC)
    drawn = draw(len(images), Augmentation(brightness=1e-6), torch.Generator().manual_seed(0))
    plain = draw(len(images), Augmentation(), torch.Generator().manual_seed(0))
    assert torch.allclose(augment(shown, drawn, IMAGENET), augment(shown, plain, IMAGENET), atol=1e-4)


def test_fewer_pixels_keep_the_frame_and_the_mean(images: torch.Tensor) -> None:
    plain = show(NetworkInput(), images, IMAGENET, SPEC)
    for resolution in (16, 4, 1):
        shown = show(NetworkInput(resolution_pix=resolution), images, IMAGENET, SPEC)
        assert shown.shape == plain.shape
        # Averages are grey levels again: a level is 1 / 255 of some 0.22.
        assert torch.allclose(shown.mean((2, 3)), plain.mean((2, 3)), atol=0.5 / 255 / 0.22)
        assert len(shown[0, 0].unique()) <= resolution**2
    assert torch.equal(shown[0, 0], shown[0, 0, :1, :1].expand(32, 32))
