"""What the pixels alone say about a cutout: unusable, doubtful, or fine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skymetal.catalogs.flags import Flag

SATURATED_FRACTION = 0.01
BAD_PIXEL_FRACTION = 0.01
MIN_ENTROPY_BITS = 1.0
NUM_ROWS_LOOKED_AT = 32


def inspect_pixels(pixels_HWC: NDArray[Any], bands: Sequence[str]) -> tuple[Flag, str]:
    """Return (flags, reason) of a stored picture or flux; a reason means that there is nothing to be scored."""
    flags, reason = _inspect_range(pixels_HWC.min(axis=0).min(axis=0), pixels_HWC.max(axis=0).max(axis=0), bands)
    if reason or pixels_HWC.dtype != np.uint8:
        return flags, reason
    num_top = SATURATED_FRACTION * pixels_HWC[:, :, 0].size
    is_top_HWC = pixels_HWC == 255
    if np.count_nonzero(is_top_HWC) > num_top and is_top_HWC.sum(axis=(0, 1)).max() > num_top:
        flags |= Flag.SATURATED
    if _entropy_bits(pixels_HWC) < MIN_ENTROPY_BITS:
        flags |= Flag.LOW_ENTROPY
    return flags, ""


def inspect_coverage(has_data_CHW: NDArray[np.bool_], bands: Sequence[str]) -> tuple[Flag, str]:
    """Return (flags, reason) of a cutout's pixels inside the survey image, by where there is data at all."""
    share_C = has_data_CHW.mean(axis=(1, 2))
    if not share_C.any():
        return Flag.BLANK, "blank: no pixel has data in any band"
    if not share_C.all():
        return Flag.MISSING_BAND, f"missing band: no pixel has data in {bands[int(np.argmin(share_C))]}"
    return (Flag.BAD_PIXELS if share_C.min() < 1 - BAD_PIXEL_FRACTION else Flag(0)), ""


def _inspect_range(low_C: NDArray[Any], high_C: NDArray[Any], bands: Sequence[str]) -> tuple[Flag, str]:
    if low_C.min() == high_C.max():
        level = low_C[0].item()
        flag = Flag.CONSTANT if level else Flag.BLANK | Flag.CONSTANT
        return flag, f"constant: every pixel is {level}" if level else "blank: every pixel is 0"
    is_constant_C = low_C == high_C
    if is_constant_C.all():
        return Flag.CONSTANT, f"constant: every pixel is {low_C.tolist()}"
    if is_constant_C.any():
        band = int(np.argmax(is_constant_C))
        return Flag.MISSING_BAND, f"missing band: every pixel is {low_C[band].item()} in {bands[band]}"
    return Flag(0), ""


def _entropy_bits(pixels_HWC: NDArray[np.uint8]) -> float:
    """Return the entropy of the grey levels in some 32 rows, or a lower bound of it where that is 1 bit or more."""
    rows_HWC = np.ascontiguousarray(pixels_HWC[:: max(len(pixels_HWC) // NUM_ROWS_LOOKED_AT, 1)])
    row_bytes = rows_HWC.shape[1] * rows_HWC.shape[2]
    # Pillow counts levels several times faster than numpy.
    counts = Image.frombuffer("L", (row_bytes, len(rows_HWC)), rows_HWC, "raw", "L", 0, 1).histogram()
    highest = max(counts) / rows_HWC.size
    if highest <= 0.5:
        return -math.log2(highest)
    shares = np.array([count for count in counts if count]) / rows_HWC.size
    return float(-(shares * np.log2(shares)).sum())
