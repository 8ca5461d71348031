"""What the pixels alone say about a cutout: unusable, doubtful, or fine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.flags import Flag

SATURATED_FRACTION = 0.01
BAD_PIXEL_FRACTION = 0.01
MIN_ENTROPY_BITS = 1.0
TOP_LEVEL = 255
GRID = 32


def inspect_pixels(images_NHWC: NDArray[Any], bands: Sequence[str]) -> tuple[NDArray[np.int32], list[str]]:
    """Return the flags (N,) and reasons of stored cutouts; a reason means that there is nothing to be scored.

    Meant for a few dozen at a time, which fit a processor's cache. Pictures are uint8; flux has no levels to judge.
    """
    low_NC, high_NC = images_NHWC.min(axis=1).min(axis=1), images_NHWC.max(axis=1).max(axis=1)
    flags_N = np.zeros(len(images_NHWC), np.int32)
    reasons = [""] * len(images_NHWC)
    for row in np.flatnonzero((low_NC == high_NC).any(axis=1)):
        flags, reasons[row] = _judge_constant(low_NC[row], high_NC[row], bands)
        flags_N[row] |= flags
    if images_NHWC.dtype == np.uint8:
        flags_N[_is_saturated(images_NHWC, high_NC)] |= Flag.SATURATED
        flags_N[_entropy_bits(images_NHWC) < MIN_ENTROPY_BITS] |= Flag.LOW_ENTROPY
        flags_N[[bool(reason) for reason in reasons]] &= ~int(Flag.SATURATED | Flag.LOW_ENTROPY)
    return flags_N, reasons


def inspect_coverage(has_data_CHW: NDArray[np.bool_], bands: Sequence[str]) -> tuple[Flag, str]:
    """Return (flags, reason) of a cutout's pixels inside the survey image, by where there is data at all."""
    share_C = has_data_CHW.mean(axis=(1, 2))
    if not share_C.any():
        return Flag.BLANK, "blank: no pixel has data in any band"
    if not share_C.all():
        return Flag.MISSING_BAND, f"missing band: no pixel has data in {bands[int(np.argmin(share_C))]}"
    return (Flag.BAD_PIXELS if share_C.min() < 1 - BAD_PIXEL_FRACTION else Flag(0)), ""


def _judge_constant(low_C: NDArray[Any], high_C: NDArray[Any], bands: Sequence[str]) -> tuple[Flag, str]:
    """Return what it means that the pixels of some band are all alike."""
    is_constant_C = low_C == high_C
    if not is_constant_C.all():
        band = int(np.argmax(is_constant_C))
        return Flag.MISSING_BAND, f"missing band: every pixel is {low_C[band].item()} in {bands[band]}"
    if not low_C.any():
        return Flag.BLANK | Flag.CONSTANT, "blank: every pixel is 0"
    levels = low_C.tolist()
    return Flag.CONSTANT, f"constant: every pixel is {levels[0] if len(set(levels)) == 1 else levels}"


def _is_saturated(images_NHWC: NDArray[np.uint8], high_NC: NDArray[np.uint8]) -> NDArray[np.bool_]:
    is_saturated_N: NDArray[np.bool_] = (high_NC == TOP_LEVEL).any(axis=1)
    for row in np.flatnonzero(is_saturated_N):  # few have any such pixel
        share_C = (images_NHWC[row] == TOP_LEVEL).mean(axis=(0, 1))
        is_saturated_N[row] = share_C.max() > SATURATED_FRACTION
    return is_saturated_N


def _entropy_bits(images_NHWC: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the entropy a pixel of each picture's grey levels, (N,), on a grid of about 32 × 32 of its pixels."""
    num_images, height, width, _ = images_NHWC.shape
    grid = images_NHWC[:, :: max(height // GRID, 1), :: max(width // GRID, 1)].reshape(num_images, -1)
    place = grid + np.arange(num_images)[:, None] * (TOP_LEVEL + 1)
    counts_NL = np.bincount(place.ravel(), minlength=num_images * (TOP_LEVEL + 1)).reshape(num_images, -1)
    share_NL = counts_NL / grid.shape[1]
    terms_NL = share_NL * np.log2(share_NL, where=counts_NL > 0, out=np.zeros(share_NL.shape))
    return np.asarray(-terms_NL.sum(axis=1))
