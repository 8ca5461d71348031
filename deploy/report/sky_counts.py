"""Galaxies counted by cells of the sky, fine enough for a field and coarse enough for all of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.healpix import ORDER, unit_vectors

FINEST = 9
"""HEALPix order of the cells that are counted: 7 arcmin."""


@dataclass(frozen=True, eq=False)
class SkyCounts:
    """Galaxies a cell of HEALPix order 9, nested; 25 MB, whatever the catalogue."""

    counts: NDArray[np.int64]

    @classmethod
    def empty(cls) -> SkyCounts:
        """Return a sky without galaxies."""
        return cls(np.zeros(12 << (2 * FINEST), np.int64))

    def add(self, healpix_N: NDArray[np.int64]) -> None:
        """Count galaxies by their order-29 indices."""
        cells, counts = np.unique(healpix_N >> (2 * (ORDER - FINEST)), return_counts=True)
        self.counts[cells] += counts

    def at(self, order: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the cells of an order up to 9 that hold galaxies, and how many each holds."""
        counts = self.counts.reshape(12 << (2 * order), -1).sum(axis=1)
        cells = np.flatnonzero(counts)
        return cells, counts[cells]

    def finest_order(self, *, max_cells: int, min_per_cell: float, finest: int = FINEST) -> int:
        """Return the finest order with so few cells that hold galaxies, and so many galaxies in each of them."""
        for order in range(finest, 0, -1):
            cells, counts = self.at(order)
            if len(cells) <= max_cells and counts.mean() >= min_per_cell:
                return order
        return 0

    def centre_and_radius(self) -> tuple[tuple[float, float], float]:
        """Return ra and dec of the middle of all galaxies, and the angle that holds every one of them, degrees."""
        cells, counts = self.at(FINEST)
        middle = (cells << (2 * (ORDER - FINEST))) + (3 << (2 * (ORDER - FINEST) - 2))
        vectors_C3 = unit_vectors(middle)
        centre_3 = counts @ vectors_C3
        length = float(np.linalg.norm(centre_3))
        centre_3 = centre_3 / length if length > 1e-9 * counts.sum() else np.array([1.0, 0.0, 0.0])
        ra, dec = np.degrees(np.arctan2(centre_3[1], centre_3[0])) % 360.0, np.degrees(np.arcsin(centre_3[2]))
        return (float(ra), float(dec)), float(np.degrees(np.arccos(np.clip(vectors_C3 @ centre_3, -1, 1)).max()))
