"""What a cutout looks like in a few plain numbers: colours and concentration.

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

INNER, OUTER, BORDER = 0.25, 0.5, 0.45
"""Radii of the apertures, and where the border begins, in units of the cutout's width (from its centre)."""
GRID = 64
"""Of larger cutouts, so many pixels a side are looked at."""
_NUMBERS_AT_ONCE = 1 << 22
_TINY = 1e-3


def appearance_names(bands: Sequence[str]) -> tuple[str, ...]:
    """Return the names of what :func:`measure_appearance` measures: a colour a pair of neighbouring bands, one more."""
    return (*(f"colour_{a}_{b}" for a, b in pairwise(bands)), "concentration")


def measure_appearance(images_NHWC: NDArray[Any]) -> NDArray[np.float32]:
    """Return (N, C): each colour, (a - b) / (a + b) of the light in two bands, and the inner aperture's share of it.

    Light is what the outer aperture holds above the sky, in the pixels' own unit. All lie within -1 … 1 for light
    that is positive, and are clipped there; a cutout without light has zeros.
    """
    every = max(images_NHWC.shape[1] // GRID, 1)
    images_NHWC = images_NHWC[:, ::every, ::every]
    num_images, height, width, num_bands = images_NHWC.shape
    weights_QX = _apertures(height, width, num_bands)
    out_NC = np.empty((num_images, num_bands), np.float32)
    rows_at_once = max(_NUMBERS_AT_ONCE // (height * width * num_bands), 1)
    for first in range(0, num_images, rows_at_once):
        pixels = images_NHWC[first : first + rows_at_once].astype(np.float32)
        sums_NX = pixels.reshape(len(pixels), -1) @ weights_QX
        inner_NC, outer_NC = sums_NX[:, :num_bands], sums_NX[:, num_bands:]
        light_N = outer_NC.mean(axis=1)
        share_N = inner_NC.mean(axis=1) / np.where(np.abs(light_N) > _TINY, light_N, np.inf)
        both_NC = np.abs(outer_NC[:, :-1]) + np.abs(outer_NC[:, 1:])
        colours_NC = (outer_NC[:, :-1] - outer_NC[:, 1:]) / np.where(both_NC > _TINY, both_NC, np.inf)
        rows = slice(first, first + len(pixels))
        out_NC[rows] = np.clip(np.column_stack([colours_NC, share_N]), -1, 1)
    return out_NC


@lru_cache(maxsize=4)
def _apertures(height: int, width: int, num_bands: int) -> NDArray[np.float32]:
    """Return (P · C, 2 · C): weights that sum each band's light inside each radius, less the border's mean a pixel."""
    y, x = np.mgrid[:height, :width]
    radius = np.hypot((y - (height - 1) / 2) / height, (x - (width - 1) / 2) / width).ravel()
    sky = (radius >= BORDER) / np.count_nonzero(radius >= BORDER)
    masks = [radius < reach for reach in (INNER, OUTER)]
    sums_PA = np.column_stack([mask - mask.sum() * sky for mask in masks]) / masks[1].sum()
    own_band_CC = np.eye(num_bands)
    return np.ascontiguousarray(np.einsum("pa,bc->pbac", sums_PA, own_band_CC).reshape(-1, 2 * num_bands), np.float32)
