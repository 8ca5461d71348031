"""The margin of a partition: the rows that lie just outside it, so that a match near its border finds them.

HATS keeps them as a second table with the partitions of the first. What is kept is every row in the HEALPix cells
around a partition, of the finest order whose cells are nowhere thinner than the margin: a little more than asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.hats import Pixel
from skymetal.catalogs.healpix import ORDER, cells_outside, neighbour_cells
from skymetal.catalogs.region import thick_order

MAX_MARGIN_ARCSEC = 3600.0
MAX_DEPTH = 12


def cells_around(pixel: Pixel, order: int) -> NDArray[np.int64]:
    """Return the cells of an order around a pixel, corners too; of a coarser order those round the cell it is in."""
    if pixel.order >= order:
        near = neighbour_cells(np.array([pixel.npix >> 2 * (pixel.order - order)]), order)[0]
        return np.unique(near[near >= 0])
    return np.unique(cells_outside(pixel.npix, pixel.order, order))


class MarginFinder:
    """Tells of which pixels' margins a row is part.

    Memory: 16 bytes a cell around a pixel, at most 16 400 cells around one of the coarsest.
    """

    def __init__(self, pixels: Sequence[Pixel], margin_arcsec: float) -> None:
        self._pixels = pixels
        coarsest = min((pixel.order for pixel in pixels), default=0)
        # Coarser cells than the margin asks for keep a few more rows; finer ones would be millions around a pixel.
        self._order = min(thick_order(margin_arcsec), coarsest + MAX_DEPTH)
        around = [cells_around(pixel, self._order) for pixel in pixels]
        cell_R = np.concatenate(around)
        by_sky = np.argsort(cell_R, kind="stable")
        self._cell_R = cell_R[by_sky]
        self._pixel_R = np.repeat(np.arange(len(pixels)), [len(cells) for cells in around])[by_sky]

    def find(self, healpix_N: NDArray[np.int64]) -> Iterator[tuple[Pixel, NDArray[np.int64]]]:
        """Yield each pixel with its margin's rows among those of sorted order-29 indices."""
        if not len(healpix_N):
            return
        shift = 2 * (ORDER - self._order)
        near = slice(*np.searchsorted(self._cell_R, [healpix_N[0] >> shift, (healpix_N[-1] >> shift) + 1]))
        if near.start == near.stop:
            return
        cell_N = healpix_N >> shift
        first_R = np.searchsorted(cell_N, self._cell_R[near], side="left")
        count_R = np.searchsorted(cell_N, self._cell_R[near], side="right") - first_R
        pixel_P = np.repeat(self._pixel_R[near], count_R)
        row_P = np.arange(len(pixel_P)) + np.repeat(first_R - np.cumsum(count_R) + count_R, count_R)
        for index in np.flatnonzero(np.bincount(pixel_P)).tolist():
            pixel, row_M = self._pixels[index], np.sort(row_P[pixel_P == index])
            is_inside_M = (healpix_N[row_M] >= pixel.start) & (healpix_N[row_M] < pixel.stop)
            if not is_inside_M.all():
                yield pixel, row_M[~is_inside_M]
