"""Shades of one colour for how many galaxies there are: in equal steps of their number, or of its logarithm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skymetal.deploy.report.markup import Markup, compact, element, joined
from skymetal.deploy.report.words import count

NUM_LEVELS = 7
OPACITY = (0.14, 0.28, 0.42, 0.57, 0.71, 0.86, 1.0)
_SIZE = 10.0


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


def density_legend(most: int) -> Markup:
    """Return the scale of shades as a line of HTML."""
    swatches = [
        element("rect", class_="density", x=k * _SIZE, width=_SIZE, height=_SIZE, fill_opacity=opacity)
        for k, opacity in enumerate(OPACITY)
    ]
    scale = _small_picture(*swatches, width=NUM_LEVELS * _SIZE, kind="shades")
    return element("p", "1 ", scale, f" {count(most)} galaxies a cell", class_="legend")


def key(entries: Sequence[tuple[str, str]]) -> Markup:
    """Return what kinds of marks mean as a line of HTML: pairs of a class and its words."""
    parts = []
    for kind, words in entries:
        swatch = element("rect", class_=f"swatch {kind}", width=_SIZE, height=_SIZE)
        parts.append(element("span", _small_picture(swatch, width=_SIZE), f" {words}"))
    return element("p", joined(parts, " "), class_="legend")


def _small_picture(*marks: Markup, width: float, kind: str | None = None) -> Markup:
    view = f"0 0 {compact(width)} {compact(_SIZE)}"
    return element("svg", *marks, class_=kind, viewBox=view, width=width, height=_SIZE, aria_hidden="true")
