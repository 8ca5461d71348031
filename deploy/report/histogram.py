"""Histograms that are filled piece by piece: fine bins first, and as coarse as a chart wants them afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.measures import OH_RANGE

OH_STEP = 0.01
OH_EDGES = np.round(np.arange(OH_RANGE[0], OH_RANGE[1] + OH_STEP / 2, OH_STEP), 10)
WIDTH_EDGES = np.round(np.arange(0.0, 4.0005, 0.001), 10)
_COARSER = (1, 2, 5, 10, 20, 50)


@dataclass(frozen=True, eq=False)
class Histogram:
    """How many values lie between edges, each lower edge belonging to its bin; those outside are in the end bins."""

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]

    @classmethod
    def empty(cls, edges: NDArray[np.float64]) -> Histogram:
        """Return one without any value."""
        return cls(edges, np.zeros(len(edges) - 1, np.int64))

    @classmethod
    def of(cls, values_N: NDArray[np.floating], edges: NDArray[np.float64]) -> Histogram:
        """Return that of some values; NaN is no value."""
        known = np.asarray(values_N[np.isfinite(values_N)], np.float64)
        place = np.clip(np.searchsorted(edges, known, side="right") - 1, 0, len(edges) - 2)
        return cls(edges, np.bincount(place, minlength=len(edges) - 1))

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(self.edges, self.counts + other.counts)

    @property
    def total(self) -> int:
        """How many values."""
        return int(self.counts.sum())

    @property
    def range(self) -> tuple[float, float]:
        """From the lower edge of the first bin with a value to the upper edge of the last."""
        full = np.flatnonzero(self.counts)
        return (float(self.edges[full[0]]), float(self.edges[full[-1] + 1])) if len(full) else (0.0, 1.0)

    def quantile(self, share: float) -> float:
        """Return the value below which that share lies, good to a bin; NaN where there are no values."""
        if not self.total:
            return float("nan")
        reached = np.concatenate([[0], np.cumsum(self.counts)]) / self.total
        return float(np.clip(np.interp(share, reached, self.edges), *self.range))

    def coarser(self, num_bins: int, limits: tuple[float, float]) -> Histogram:
        """Return some ``num_bins`` bins or fewer of 1, 2, 5, … fine ones, on round edges, that cover the limits."""
        step = self.edges[1] - self.edges[0]
        low, high = ((limit - self.edges[0]) / step for limit in limits)
        width = next((width for width in _COARSER if (high - low) / width <= num_bins), _COARSER[-1])
        first, last = math.floor(low / width + 1e-6) * width, math.ceil(high / width - 1e-6) * width
        starts = np.arange(max(first, 0), min(last, len(self.counts)), width)
        edges = np.append(self.edges[starts], self.edges[min(starts[-1] + width, len(self.counts))])
        return Histogram(edges, np.add.reduceat(self.counts[: starts[-1] + width], starts))
