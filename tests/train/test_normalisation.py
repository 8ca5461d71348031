from __future__ import annotations

import numpy as np
import pytest
import torch
from support.tiny_training import SPEC

from skymetal.train.network.inputs import NetworkInput
from skymetal.train.normalisation import measure_normalisation

ALL_BANDS = NetworkInput()


def galaxies(num_images: int = 40) -> torch.Tensor:
    """Return pictures whose bands are nearly alike: brightness varies much, colours little, the sky is noise."""
    rng = np.random.default_rng(0)
    radius = np.hypot(*(np.mgrid[:32, :32] - 15.5))
    light_NHW = 150 * rng.random((num_images, 1, 1)) * np.exp(-radius / 5)
    colour_NC = 1 + 0.2 * rng.standard_normal((num_images, 1, 1, 3))
    noise = rng.normal(6, 3, (num_images, 32, 32, 3))
    return torch.from_numpy((light_NHW[..., None] * colour_NC + noise).clip(0, 255).astype(np.uint8))


def shown(images: torch.Tensor, pixels: str, network_input: NetworkInput = ALL_BANDS) -> np.ndarray:
    """Return the normalised pixels, (P, C), of images that were measured in two pieces."""
    pieces = [network_input.select(piece, SPEC) for piece in (images[:7], images[7:])]
    channels = network_input.apply(images, measure_normalisation(pieces, pixels=pixels), SPEC)
    return channels.permute(0, 2, 3, 1).reshape(-1, 3).double().numpy()


def test_scaled_pixels_have_no_mean_and_the_spread_of_one() -> None:
    pixels = shown(galaxies(), "scaled")
    assert np.allclose(pixels.mean(0), 0, atol=1e-5)
    assert np.allclose(pixels.std(0), 1, atol=1e-5)
    assert np.corrcoef(pixels.T)[0, 1] > 0.8


def test_whitened_pixels_vary_alike_in_every_direction_among_the_bands() -> None:
    pixels = shown(galaxies(), "whitened")
    assert np.allclose(pixels.mean(0), 0, atol=1e-5)
    assert np.allclose(np.cov(pixels.T, bias=True), np.eye(3), atol=1e-4)


@pytest.mark.parametrize("pixels", ["scaled", "whitened"])
def test_the_measure_is_the_same_in_whatever_pieces_the_images_come(pixels: str) -> None:
    images = galaxies()
    assert measure_normalisation([images], pixels=pixels) == measure_normalisation(images.split(3), pixels=pixels)


@pytest.mark.parametrize("pixels", ["scaled", "whitened"])
def test_black_grey_and_single_bands_stay_finite_and_noise_below_a_grey_level_is_not_blown_up(pixels: str) -> None:
    black = galaxies()
    black[..., 2] = 0
    grey = galaxies()[..., :1].repeat(1, 1, 1, 3)
    for images, network_input in (
        (black, ALL_BANDS),
        (grey, ALL_BANDS),
        (galaxies(), NetworkInput(band="r")),
    ):
        channels = shown(images, pixels, network_input)
        assert np.isfinite(channels).all()
        assert np.abs(channels).max() < 50
    assert np.allclose(channels, channels[:, :1], atol=1e-4)
