"""Shades of one colour for how many galaxies there are: in equal steps of their number, or of its logarithm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skymetal.deploy.report.markup import Markup, element, joined
from skymetal.deploy.report.svg.frame import width_of
from skymetal.deploy.report.words import count

NUM_LEVELS = 7
OPACITY = (0.14, 0.28, 0.42, 0.57, 0.71, 0.86, 1.0)
_SIZE = 9.0


def levels_of(counts: NDArray[np.int64], *, is_linear: bool = False) -> NDArray[np.int64]:
    """Return the shade of each count: −1 for none, then 0 to the last."""
    most = max(int(counts.max(initial=1)), 2)
    share = counts / most if is_linear else np.log(np.maximum(counts, 1)) / np.log(most)
    level = np.clip(np.floor(share * NUM_LEVELS), 0, NUM_LEVELS - 1)
    return np.where(counts > 0, level, -1).astype(np.int64)


def shaded(level_N: NDArray[np.int64], paths: Sequence[str]) -> Markup:
    """Return shapes, given as path data, each in its shade; those of level −1 are left out."""
    shades = ["".join(path for path, own in zip(paths, level_N, strict=True) if own == k) for k in range(NUM_LEVELS)]
    return joined(
        element("path", class_="density", fill_opacity=opacity, d=path)
        for path, opacity in zip(shades, OPACITY, strict=True)
        if path
    )


def density_legend(*, right: float, most: int, is_short: bool = False) -> Markup:
    """Return the scale of shades as one line that ends at ``right``, at the top of a chart."""
    words = count(most) if is_short else f"{count(most)} galaxies a cell"
    end = right - width_of(words, 10.5) - 4
    start = end - NUM_LEVELS * _SIZE
    swatches = [
        element("rect", class_="density", x=start + k * _SIZE, y=5.0, width=_SIZE, height=_SIZE, fill_opacity=opacity)
        for k, opacity in enumerate(OPACITY)
    ]
    low = element("text", "1", class_="key", x=start - 4, y=13.0, text_anchor="end")
    return element("g", low, *swatches, element("text", words, class_="key", x=end + 4, y=13.0))
