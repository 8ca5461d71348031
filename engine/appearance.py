"""What a cutout looks like in a few plain numbers: colours, concentration, chroma, roughness.

They need no network, so they tell an unusual image from an unusual opinion of it. Sums over round apertures are one
matrix product; the sky is what the border shows. N galaxies, P pixels, C bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

INNER, OUTER, BORDER = 0.1, 0.4, 0.45
"""Radii of the apertures, and where the border begins, in units of the cutout's width (from its centre)."""
GRID = 64
"""Of larger cutouts, so many pixels a side are looked at."""
CONCENTRATION, CHROMA, ROUGHNESS = "concentration", "chroma", "roughness"
_NUMBERS_AT_ONCE = 1 << 17
_TINY = 1e-3
_LIMIT = 10.0


def appearance_names(bands: Sequence[str]) -> tuple[str, ...]:
    """Return the names of what :func:`measure_appearance` measures: a colour a pair of bands, and three more."""
    return (*(f"colour_{a}_{b}" for a, b in pairwise(bands)), CONCENTRATION, CHROMA, ROUGHNESS)


def measure_appearance(images_NHWC: NDArray[Any]) -> NDArray[np.float32]:
    """Return (N, C + 2), in the order of :func:`appearance_names`.

    A colour is (a - b) / (a + b) of the light in two bands, concentration the inner aperture's share of it. Light is
    what the outer aperture holds above the sky, in the pixels' own unit. Chroma is how far the bands of a pixel are
    apart, on average, over its mean level; roughness how far neighbouring pixels are, over the mean deviation from
    that level: a grey image has no chroma, and shuffled pixels are rough. All are clipped to -10 … 10.
    """
    every = max(images_NHWC.shape[1] // GRID, 1)
    images_NHWC = images_NHWC[:, ::every, ::every]
    num_images, height, width, num_bands = images_NHWC.shape
    weights_QX = _apertures(height, width, num_bands)
    out_NA = np.empty((num_images, num_bands + 2), np.float32)
    rows_at_once = max(_NUMBERS_AT_ONCE // (height * width * num_bands), 1)
    for first in range(0, num_images, rows_at_once):
        # Band by band in memory: sums over strided pixels are several times slower.
        pixels_NCHW = np.moveaxis(images_NHWC[first : first + rows_at_once], 3, 1).astype(np.float32, order="C")
        sums_NX = pixels_NCHW.reshape(len(pixels_NCHW), -1) @ weights_QX
        light = _light(sums_NX[:, :num_bands], sums_NX[:, num_bands:])
        rows = slice(first, first + len(pixels_NCHW))
        out_NA[rows] = np.clip(np.column_stack([*light, *_texture(pixels_NCHW)]), -_LIMIT, _LIMIT)
    return out_NA


def _light(inner_NC: NDArray[np.float32], outer_NC: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return the colours and the concentration; zeros where there is no light."""
    both_NC = np.abs(outer_NC[:, :-1]) + np.abs(outer_NC[:, 1:])
    colours_NC = (outer_NC[:, :-1] - outer_NC[:, 1:]) / np.where(both_NC > _TINY, both_NC, np.inf)
    light_N = outer_NC.mean(axis=1)
    return [*colours_NC.T, inner_NC.mean(axis=1) / np.where(np.abs(light_N) > _TINY, light_N, np.inf)]


def _texture(pixels_NCHW: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return chroma and roughness; zeros for an even image."""
    num_pixels = np.float32(pixels_NCHW.shape[2] * pixels_NCHW.shape[3])
    range_NHW = pixels_NCHW.max(axis=1) - pixels_NCHW.min(axis=1)
    grey_NHW = pixels_NCHW.mean(axis=1)
    level_N = _sum(grey_NHW) / num_pixels
    spread_N = _sum(np.abs(grey_NHW - level_N[:, None, None])) / num_pixels
    across, down = grey_NHW[:, :, 1:] - grey_NHW[:, :, :-1], grey_NHW[:, 1:] - grey_NHW[:, :-1]
    steps_N = (_sum(np.abs(across)) + _sum(np.abs(down))) / np.float32(across[0].size)
    chroma_N = _sum(range_NHW) / num_pixels / np.where(np.abs(level_N) > _TINY, np.abs(level_N), np.inf)
    roughness_N = steps_N / np.where(spread_N > _TINY, spread_N, np.inf)
    return [chroma_N.astype(np.float32), roughness_N.astype(np.float32)]


def _sum(values_NHW: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(values_NHW.reshape(len(values_NHW), -1).sum(axis=1), np.float32)


@lru_cache(maxsize=4)
def _apertures(height: int, width: int, num_bands: int) -> NDArray[np.float32]:
    """Return (C · P, 2 · C): weights that sum each band's light inside each radius, less the border's mean a pixel."""
    y, x = np.mgrid[:height, :width]
    radius = np.hypot((y - (height - 1) / 2) / height, (x - (width - 1) / 2) / width).ravel()
    sky = (radius >= BORDER) / np.count_nonzero(radius >= BORDER)
    masks = [radius < reach for reach in (INNER, OUTER)]
    sums_PA = np.column_stack([mask - mask.sum() * sky for mask in masks]) / masks[1].sum()
    own_band_CC = np.eye(num_bands)
    return np.ascontiguousarray(np.einsum("pa,bc->bpac", sums_PA, own_band_CC).reshape(-1, 2 * num_bands), np.float32)
