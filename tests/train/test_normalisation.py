from __future__ import annotations

import numpy as np
import pytest
import torch
from support.tiny_training import SPEC

from skymetal.train.network.inputs import NetworkInput
from skymetal.train.network.show import select_levels, show
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
    pieces = [select_levels(network_input, piece, SPEC) for piece in (images[:7], images[7:])]
    channels = show(network_input, images, measure_normalisation(pieces, pixels=pixels), SPEC)
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


def test_whitened_pixels_are_softened_logarithms() -> None:
    measured = measure_normalisation([galaxies()], pixels="whitened")
    logarithms = np.log1p(galaxies().numpy() / 8.0)
    assert measured.softening == 8.0
    assert np.allclose(measured.mean, logarithms.mean((0, 1, 2)), atol=1e-9)
    assert np.allclose(np.array(measured.matrix), np.array(measured.matrix).T)


@pytest.mark.parametrize("pixels", ["scaled", "whitened"])
def test_what_varies_by_less_than_a_grey_level_is_not_blown_up(pixels: str) -> None:
    black, grey = galaxies(), galaxies()[..., :1].repeat(1, 1, 1, 3)
    black[..., 2] = 0
    black[0, 0, :8, 2] = 1
    grey[0, 0, :8, 2] += 1
    for images in (black, grey):
        matrix = np.array(measure_normalisation([images], pixels=pixels).matrix)
        # One grey level is 1 / 255 of what scaled pixels are measured in, and log(1 + 1 / 8) of whitened ones.
        assert np.linalg.norm(matrix, 2) <= (255.001 if pixels == "scaled" else 1.001 / np.log1p(1 / 8))
    channels = shown(grey, pixels)
    assert np.abs(channels - channels[:, :1]).max() < 1.01


@pytest.mark.parametrize("pixels", ["scaled", "whitened"])
def test_one_band_in_all_channels_is_alike_in_all(pixels: str) -> None:
    channels = shown(galaxies(), pixels, NetworkInput(band="r"))
    assert np.allclose(channels, channels[:, :1], atol=1e-5)
    assert channels.std() == pytest.approx(1.0 if pixels == "scaled" else 1 / np.sqrt(3), rel=1e-4)


def test_fewer_pixels_are_whitened_as_they_are_shown() -> None:
    channels = shown(galaxies(), "whitened", NetworkInput(resolution_pix=8))
    assert np.linalg.eigvalsh(np.cov(channels.T, bias=True)).min() > 0.4
