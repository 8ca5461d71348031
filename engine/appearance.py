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
_NUMBERS_AT_ONCE = 1 << 18
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
    light_PX, texture_PX = _apertures(height, width), _steps(height, width)
    out_NA = np.empty((num_images, num_bands + 2), np.float32)
    rows_at_once = max(_NUMBERS_AT_ONCE // (height * width * num_bands), 1)
    for first in range(0, num_images, rows_at_once):
        rows = slice(first, min(first + rows_at_once, num_images))
        # Band by band in memory: sums over strided pixels are several times slower.
        pixels_CNP = (
            np.moveaxis(images_NHWC[rows], 3, 0).astype(np.float32, order="C").reshape(num_bands, -1, height * width)
        )
        sums_CNX = (pixels_CNP.reshape(-1, height * width) @ light_PX).reshape(num_bands, -1, light_PX.shape[1])
        texture = _texture(pixels_CNP, width, texture_PX)
        out_NA[rows] = np.clip(
            np.column_stack([*_light(sums_CNX[:, :, 0], sums_CNX[:, :, 1]), *texture]), -_LIMIT, _LIMIT
        )
    return out_NA


def _light(inner_CN: NDArray[np.float32], outer_CN: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return the colours and the concentration; zeros where there is no light."""
    both_CN = np.abs(outer_CN[:-1]) + np.abs(outer_CN[1:])
    colours_CN = (outer_CN[:-1] - outer_CN[1:]) / np.where(both_CN > _TINY, both_CN, np.inf)
    light_N = outer_CN.mean(axis=0)
    return [*colours_CN, inner_CN.mean(axis=0) / np.where(np.abs(light_N) > _TINY, light_N, np.inf)]


def _texture(pixels_CNP: NDArray[np.float32], width: int, steps_PX: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return chroma and roughness; zeros for an even image."""
    range_NP = pixels_CNP.max(axis=0) - pixels_CNP.min(axis=0)
    grey_NP = pixels_CNP.mean(axis=0)
    every_P = np.full(grey_NP.shape[1], 1 / grey_NP.shape[1], np.float32)
    level_N = grey_NP @ every_P
    spread_N = np.abs(grey_NP - level_N[:, None]) @ every_P
    # Differences along the whole memory; those from one row's or image's end to the next one's start weigh nothing.
    flat = np.append(grey_NP.ravel(), np.zeros(width, np.float32))
    across_NP = np.abs(flat[1 : 1 + grey_NP.size] - flat[: grey_NP.size]).reshape(grey_NP.shape)
    down_NP = np.abs(flat[width : width + grey_NP.size] - flat[: grey_NP.size]).reshape(grey_NP.shape)
    steps_N = across_NP @ steps_PX[:, 0] + down_NP @ steps_PX[:, 1]
    chroma_N = range_NP @ every_P / np.where(np.abs(level_N) > _TINY, np.abs(level_N), np.inf)
    roughness_N = steps_N / np.where(spread_N > _TINY, spread_N, np.inf)
    return [chroma_N.astype(np.float32), roughness_N.astype(np.float32)]


@lru_cache(maxsize=4)
def _apertures(height: int, width: int) -> NDArray[np.float32]:
    """Return (P, 2): weights that sum a band's light inside each radius, less the border's mean a pixel."""
    y, x = np.mgrid[:height, :width]
    radius = np.hypot((y - (height - 1) / 2) / height, (x - (width - 1) / 2) / width).ravel()
    sky = (radius >= BORDER) / np.count_nonzero(radius >= BORDER)
    masks = [radius < reach for reach in (INNER, OUTER)]
    return np.ascontiguousarray(
        np.column_stack([mask - mask.sum() * sky for mask in masks]) / masks[1].sum(), np.float32
    )


@lru_cache(maxsize=4)
def _steps(height: int, width: int) -> NDArray[np.float32]:
    """Return (P, 2): weights of the steps from each pixel to the next across and down, where there is one."""
    y, x = np.mgrid[:height, :width]
    has_next = [(x < width - 1).ravel(), (y < height - 1).ravel()]
    return np.asfortranarray(np.column_stack(has_next) / (height * (width - 1)), np.float32)
