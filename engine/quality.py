"""What the pixels alone say about a cutout: unusable, doubtful, or fine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.flags import Flag

SATURATED_FRACTION = 0.01
MIN_ENTROPY_BITS = 1.0


def inspect_pixels(pixels_HWC: NDArray[np.uint8]) -> tuple[Flag, str]:
    """Return (flags, reason); a reason means that there is nothing in the image to be scored."""
    low, high = int(pixels_HWC.min()), int(pixels_HWC.max())
    if low == high:
        return Flag(0), "blank: every pixel is 0" if high == 0 else f"constant: every pixel is {high}"
    flags = Flag(0)
    if (pixels_HWC == 255).mean(axis=(0, 1)).max() > SATURATED_FRACTION:
        flags |= Flag.SATURATED
    if _entropy_bits(pixels_HWC) < MIN_ENTROPY_BITS:
        flags |= Flag.LOW_ENTROPY
    return flags, ""


def _entropy_bits(pixels_HWC: NDArray[np.uint8]) -> float:
    counts = np.bincount(pixels_HWC.ravel(), minlength=256)
    shares = counts[counts > 0] / pixels_HWC.size
    return float(-(shares * np.log2(shares)).sum())
