"""Cutouts as pictures that a page holds within itself."""

from __future__ import annotations

import base64
from typing import Any

from numpy.typing import NDArray

from skymetal.deploy.pictures import to_png

MAX_SIDE = 128
"""Larger pictures are made smaller: a page holds forty of them."""


def to_data_uri(pixels_HWC: NDArray[Any]) -> str:
    """Return a cutout as a PNG in a data URI; the same pixels give the same text."""
    return f"data:image/png;base64,{base64.b64encode(to_png(pixels_HWC, max_side=MAX_SIDE)).decode()}"
