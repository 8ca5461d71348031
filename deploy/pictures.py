"""Cutouts as pictures for people: in the report, and on the page of ``catalog serve``."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def to_png(pixels_HWC: NDArray[Any], *, max_side: int | None = None) -> bytes:
    """Return a cutout as a PNG, made smaller where a side is longer; the same pixels give the same bytes."""
    image = Image.fromarray(as_rgb(pixels_HWC))
    if max_side is not None and max(image.size) > max_side:
        image = image.resize((max_side, max_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def as_rgb(pixels_HWC: NDArray[Any]) -> NDArray[np.uint8]:
    """Return three bands as they are, any other number as the grey of their mean; flux is stretched to be seen."""
    if pixels_HWC.dtype != np.uint8:
        flux_HWC = np.nan_to_num(pixels_HWC.astype(np.float64))
        low, high = np.quantile(flux_HWC, [0.5, 0.998])
        light_HWC = np.arcsinh(10 * np.clip((flux_HWC - low) / max(high - low, 1e-30), 0, 1)) / np.arcsinh(10)
        pixels_HWC = np.rint(255 * light_HWC).astype(np.uint8)
    if pixels_HWC.shape[2] == 3:
        return np.ascontiguousarray(pixels_HWC)
    grey_HW1 = np.rint(pixels_HWC.mean(axis=2, keepdims=True)).astype(np.uint8)
    return np.repeat(grey_HW1, 3, axis=2)
