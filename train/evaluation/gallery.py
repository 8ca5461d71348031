"""A gallery: cutouts from the poorest prediction to the richest, so that an eye can judge what a number cannot."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

NUM_COLUMNS = 8
NUM_CUTOUTS = 32


def choose_ranks(num_rows: int) -> NDArray[np.intp]:
    """Return up to NUM_CUTOUTS ranks, evenly spaced from the first row to the last."""
    return np.unique(np.linspace(0, num_rows - 1, min(num_rows, NUM_CUTOUTS)).round().astype(np.intp))


def draw_gallery(images_NHWC: NDArray[np.uint8], captions: Sequence[str], *, title: str) -> bytes:
    """Return a PNG of the cutouts, row by row, each with its caption. The same input gives the same bytes."""
    num_rows = -(-len(images_NHWC) // NUM_COLUMNS)
    width, height = 1.3 * NUM_COLUMNS, 1.5 * num_rows + 0.5
    figure = Figure(figsize=(width, height), dpi=110, facecolor="#101014")
    figure.suptitle(title, color="white", fontsize=11, y=1 - 0.22 / height)
    places = {"left": 0.01, "right": 0.99, "bottom": 0.05 / height, "top": 1 - 0.55 / height}
    grid = figure.subplots(num_rows, NUM_COLUMNS, squeeze=False, gridspec_kw=places | {"wspace": 0.04, "hspace": 0.22})
    for axes in grid.flat:
        axes.axis("off")
    for axes, pixels, caption in zip(grid.flat, images_NHWC, captions, strict=False):
        axes.imshow(pixels, interpolation="bicubic")
        axes.set_title(caption, color="white", fontsize=7.5, pad=2)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
