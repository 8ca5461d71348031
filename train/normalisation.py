"""How the pixels of a training sample are normalised: measured once, before the first step. C bands, L grey levels.

A galaxy's bands are nearly the same picture, and what tells its metallicity is how they differ: its colours. A colour
is a ratio of fluxes, so a difference of logarithms, and small beside the brightness that all bands share. *Whitened*
pixels are logarithms turned and stretched so that every direction among the bands has a variance of one: colours then
reach the first convolution as loud as brightness. (Symmetric, or ZCA, whitening: Bell & Sejnowski 1997.)
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations_with_replacement

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skymetal.engine.pixels import NUM_LEVELS, Normalisation, level_curve
from skymetal.train.recipe import WHITENED

SOFTENING = 8.0
"""In grey levels: below, where a cutout is mostly the sky's noise, the logarithm is nearly linear."""


def measure_normalisation(pieces: Iterable[Tensor], *, pixels: str) -> Normalisation:
    """Return the normalisation of uint8 images, (N, H, W, C) each piece, that a recipe with such ``pixels`` wants.

    Grey levels are counted, so the result does not depend on how the images come in pieces, or on the device.
    """
    softening = SOFTENING if pixels == WHITENED else 0.0
    mean_C, covariance_CC = _moments(_count(pieces, together=pixels == WHITENED), level_curve(softening))
    # What varies by less than a grey level has nothing to scale by: a black band, or bands that are all alike.
    least = float(np.diff(level_curve(softening))[0])
    if pixels != WHITENED:
        return Normalisation.scaling(mean_C.tolist(), np.sqrt(covariance_CC.diagonal()).clip(least).tolist())
    variance_C, axes_CC = np.linalg.eigh(covariance_CC)
    matrix = axes_CC / np.sqrt(variance_C.clip(least**2)) @ axes_CC.T
    return Normalisation(mean=tuple(mean_C.tolist()), matrix=tuple(map(tuple, matrix.tolist())), softening=softening)


def _count(pieces: Iterable[Tensor], *, together: bool) -> dict[tuple[int, int], NDArray[np.int64]]:
    """Return how many pixels have which grey level, (L, L), in each pair of bands; in a band and itself, diagonal."""
    counts: dict[tuple[int, int], Tensor] = {}
    for images_NHWC in pieces:
        bands = range(images_NHWC.shape[-1])
        for a, b in combinations_with_replacement(bands, 2) if together else zip(bands, bands, strict=True):
            code_NHW = images_NHWC[..., a].int() * NUM_LEVELS + images_NHWC[..., b]
            count = torch.bincount(code_NHW.reshape(-1), minlength=NUM_LEVELS**2).cpu()
            counts[a, b] = counts.get((a, b), 0) + count
    return {pair: count.view(NUM_LEVELS, NUM_LEVELS).numpy() for pair, count in counts.items()}


def _moments(
    counts: dict[tuple[int, int], NDArray[np.int64]], curve_L: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean, (C,), and the covariance, (C, C), of the curve's values; 0 where no pair was counted."""
    num_bands = max(a for a, _ in counts) + 1
    share = {pair: count / count.sum() for pair, count in counts.items()}
    mean_C = np.array([float(share[band, band].diagonal() @ curve_L) for band in range(num_bands)])
    covariance_CC = np.zeros((num_bands, num_bands))
    for (a, b), share_LL in share.items():
        covariance_CC[a, b] = covariance_CC[b, a] = (curve_L - mean_C[a]) @ share_LL @ (curve_L - mean_C[b])
    return mean_C, covariance_CC
