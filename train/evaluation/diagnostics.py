"""Where predictions are good and where not: errors in bins, coverage of the intervals, shrinkage. N galaxies, dex."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymetal.train.evaluation.metrics import Metrics, Values, evaluate

NUM_BINS = 10
MIN_IN_BIN = 40
"""A bin of fewer galaxies says more about them than about the predictions."""
HIGH_OH = 9.1
"""Above it the paper counts 12.6 % of the truths and 5.7 % of its predictions (Wu & Boada 2019, section 4)."""


@dataclass(frozen=True, kw_only=True)
class Bin:
    """The galaxies whose value of ``by`` is in low … high, the extremes among them; centre is its median."""

    by: str
    low: float
    centre: float
    high: float
    metrics: Metrics

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a report or a file."""
        return {"by": self.by, "low": self.low, "centre": self.centre, "high": self.high} | self.metrics.to_dict()


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """The fraction of truths inside the 68 % and the 95 % interval, of the galaxies of one bin, or of all."""

    by: str
    low: float
    centre: float
    high: float
    num_galaxies: int
    coverage_68: float
    coverage_95: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a report or a file."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Shrinkage:
    """How far predictions are drawn to the mean: 1 for both slopes, and equal fractions, where they are not.

    slope_of_prediction is that of the line of prediction on truth, below 1 for every predictor with an error;
    slope_of_truth that of truth on prediction, 1 where a prediction is the mean of the truths that it is given for.
    high_truth and high_prediction are the fractions above 9.1.
    """

    slope_of_prediction: float
    slope_of_truth: float
    high_truth: float
    high_prediction: float

    def to_dict(self) -> dict[str, float]:
        """Return plain values for a report or a file."""
        return asdict(self)


def measure_shrinkage(truth_N: Values, prediction_N: Values) -> Shrinkage:
    """Return the receipt of shrinkage; a slope on what is constant is NaN."""
    truth, prediction = truth_N - truth_N.mean(), prediction_N - prediction_N.mean()
    product, of_truth, of_prediction = (float(a @ b) for a, b in ((truth, prediction), (truth,) * 2, (prediction,) * 2))
    return Shrinkage(
        slope_of_prediction=product / of_truth if of_truth else float("nan"),
        slope_of_truth=product / of_prediction if of_prediction else float("nan"),
        high_truth=float(np.mean(truth_N > HIGH_OH)),
        high_prediction=float(np.mean(prediction_N > HIGH_OH)),
    )


def equal_bins(value_N: Values) -> list[NDArray[np.intp]]:
    """Return the rows of up to ten bins of equal count along a value, none of fewer than 40 galaxies.

    Rows without a finite value are in no bin; there is no bin at all where fewer than 40 are left.
    """
    known = np.flatnonzero(np.isfinite(value_N))
    num_bins = min(NUM_BINS, len(known) // MIN_IN_BIN)
    ordered = known[np.argsort(value_N[known], kind="stable")]
    return np.array_split(ordered, num_bins) if num_bins else []


def bin_errors(truth_N: Values, prediction_N: Values) -> list[Bin]:
    """Return the measures in bins of truth, then in bins of prediction.

    By truth, shrinkage shows: low metallicities are over-predicted. By prediction it shows what a user of the
    catalogue, who has no truth, should expect.
    """
    bins = []
    for by, value_N in (("truth", truth_N), ("prediction", prediction_N)):
        for rows in equal_bins(value_N):
            limits = _limits(value_N[rows])
            bins.append(Bin(by=by, **limits, metrics=evaluate(truth_N[rows], prediction_N[rows])))
    return bins


def measure_coverage(
    truth_N: Values, interval_68: tuple[Values, Values], interval_95: tuple[Values, Values], by: Mapping[str, Values]
) -> list[Coverage]:
    """Return the coverage over all galaxies (by ``all``), then in bins of each value in ``by``, which is named there.

    An interval is its lower and its upper limits, one a galaxy; the limits belong to it.
    """
    inside_68_N, inside_95_N = (
        (truth_N >= low_N) & (truth_N <= high_N) for low_N, high_N in (interval_68, interval_95)
    )
    groups = [("all", truth_N, np.arange(len(truth_N)))]
    groups += [(name, value_N, rows) for name, value_N in by.items() for rows in equal_bins(value_N)]
    return [
        Coverage(
            by=name,
            **_limits(value_N[rows]),
            num_galaxies=len(rows),
            coverage_68=float(inside_68_N[rows].mean()),
            coverage_95=float(inside_95_N[rows].mean()),
        )
        for name, value_N, rows in groups
    ]


def _limits(value_N: Values) -> dict[str, float]:
    return {"low": float(value_N.min()), "centre": float(np.median(value_N)), "high": float(value_N.max())}
