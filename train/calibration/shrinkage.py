"""Undoing shrinkage: predictions crowd towards the mean, and a monotone map gives them the truth's distribution.

N galaxies, K knots, dex.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from skymetal.train.calibration.intervals import Sample, parts
from skymetal.train.evaluation.diagnostics import HIGH_OH, measure_shrinkage
from skymetal.train.evaluation.metrics import Values, rmse

GALAXIES_PER_KNOT = 40
MAX_KNOTS = 25
MIN_STEP_DEX = 1e-3
OUTER_SLOPE = (0.5, 2.0)


@dataclass(frozen=True, kw_only=True)
class Correction:
    """A strictly increasing map of predictions: linear between knots, and with outer_slope beyond them."""

    predicted: tuple[float, ...]
    corrected: tuple[float, ...]
    outer_slope: float

    def __post_init__(self) -> None:
        if not (len(self.predicted) == len(self.corrected) > 0 and self.outer_slope > 0):
            raise ValueError("a correction needs as many corrected as predicted knots, and an outer_slope > 0")
        for values in (self.predicted, self.corrected):
            if any(right <= left for left, right in itertools.pairwise(values)):
                raise ValueError("a correction needs knots that increase")

    def apply(self, prediction_N: Values) -> Values:
        """Return the corrected predictions; a galaxy's does not depend on the others."""
        inside_N = np.interp(prediction_N, self.predicted, self.corrected)
        beyond_N = prediction_N - np.clip(prediction_N, self.predicted[0], self.predicted[-1])
        return inside_N + self.outer_slope * beyond_N


@dataclass(frozen=True, kw_only=True)
class ShrinkageReceipt:
    """What the correction does to galaxies that had no part in it: before (oh_p50) and after (oh_unshrunk).

    slope is that of prediction on truth, share the share above threshold, 9.1 dex.
    """

    num_galaxies: int
    threshold: float
    slope_before: float
    slope_after: float
    rmse_before: float
    rmse_after: float
    share_true: float
    share_before: float
    share_after: float


def fit_correction(truth_N: Values, prediction_N: Values) -> Correction:
    """Fit the map that gives predictions the distribution of the truth: the k-th group by size onto the k-th.

    Few galaxies get few knots, and so a nearly straight map.
    """
    num_knots = min(max(len(truth_N) // GALAXIES_PER_KNOT, 2), MAX_KNOTS, len(truth_N))
    predicted: list[float] = []
    corrected: list[float] = []
    groups = zip(np.array_split(np.sort(prediction_N), num_knots), np.array_split(np.sort(truth_N), num_knots))  # noqa: B905
    for predicted_group, true_group in groups:
        x, y = float(predicted_group.mean()), float(true_group.mean())
        if not predicted or (x - predicted[-1] > MIN_STEP_DEX and y - corrected[-1] > MIN_STEP_DEX):
            predicted.append(x)
            corrected.append(y)
    slope = (corrected[-1] - corrected[0]) / (predicted[-1] - predicted[0]) if len(predicted) > 1 else 1.0
    return Correction(
        predicted=tuple(predicted), corrected=tuple(corrected), outer_slope=float(np.clip(slope, *OUTER_SLOPE))
    )


def judge_correction(sample: Sample, centre: float) -> ShrinkageReceipt:
    """Return the receipt: each part (fold) corrected by a map fitted on the others, centre being added before."""
    corrected_N = np.empty_like(sample.prediction_N)
    for inside_N, others_N in parts(sample.part_N):
        correction = fit_correction(sample.truth_N[others_N], sample.prediction_N[others_N])
        corrected_N[inside_N] = correction.apply(sample.prediction_N[inside_N])
    before_N = sample.prediction_N + centre
    before, after = (measure_shrinkage(sample.truth_N, values_N) for values_N in (before_N, corrected_N))
    return ShrinkageReceipt(
        num_galaxies=len(before_N),
        threshold=HIGH_OH,
        slope_before=before.slope_of_prediction,
        slope_after=after.slope_of_prediction,
        rmse_before=rmse(sample.truth_N, before_N),
        rmse_after=rmse(sample.truth_N, corrected_N),
        share_true=before.high_truth,
        share_before=before.high_prediction,
        share_after=after.high_prediction,
    )
