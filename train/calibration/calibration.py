"""The calibration of an ensemble: from raw predictions to percentiles, and to values without shrinkage.

Fitted on galaxies whose prediction is honest: out of fold, and, where there is one, a test set. Plain numbers.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.schema import UNSHRUNK
from skymetal.train.calibration.intervals import Intervals, Sample, Scale, fit_intervals, refit_quantiles
from skymetal.train.calibration.shrinkage import Correction, ShrinkageReceipt, fit_correction, judge_correction
from skymetal.train.evaluation.metrics import Values

MIN_TEST_GALAXIES = 100


@dataclass(frozen=True, kw_only=True)
class KindCalibration:
    """What is done to one kind of galaxy; the receipt is of the galaxies that intervals names."""

    intervals: Intervals
    correction: Correction
    receipt: ShrinkageReceipt


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """One calibration for galaxies predicted out of fold (one member), one for new ones (the mean of all members).

    Without a test set of at least 100 galaxies the two are the same: for new galaxies, whose predictions are a
    little better, the intervals are then too wide rather than too narrow.
    """

    out_of_fold: KindCalibration
    new: KindCalibration

    def apply(
        self, prediction_N: Values, std_views_N: Values, is_out_of_fold_N: NDArray[np.bool_], *, num_views: int
    ) -> dict[str, Values]:
        """Return the percentiles and oh_unshrunk, dex; all finite; a galaxy's do not depend on the others.

        num_views says how many views prediction_N and std_views_N are over.
        """
        out_N: dict[str, Values] = {}
        for kind, rows_N in ((self.out_of_fold, is_out_of_fold_N), (self.new, ~is_out_of_fold_N)):
            columns = kind.intervals.percentiles(prediction_N[rows_N], std_views_N[rows_N], num_views=num_views)
            columns[UNSHRUNK] = kind.correction.apply(prediction_N[rows_N])
            for name, values_N in columns.items():
                out_N.setdefault(name, np.empty(len(prediction_N)))[rows_N] = values_N
        return out_N

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for the card."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Calibration:
        """Return the calibration that those values record; KeyError, TypeError or ValueError for any other."""
        return cls(out_of_fold=_read_kind(content["out_of_fold"]), new=_read_kind(content["new"]))


def fit_calibration(out_of_fold: Sample, test: Sample | None = None) -> Calibration:
    """Fit both calibrations; a test set of fewer than 100 galaxies is not used."""
    own = _fit_kind(out_of_fold, fit_intervals(out_of_fold))
    if test is None or len(test.truth_N) < MIN_TEST_GALAXIES:
        return Calibration(out_of_fold=own, new=own)
    return Calibration(out_of_fold=own, new=_fit_kind(test, refit_quantiles(own.intervals, test)))


def _fit_kind(sample: Sample, intervals: Intervals) -> KindCalibration:
    return KindCalibration(
        intervals=intervals,
        correction=fit_correction(sample.truth_N, sample.prediction_N),
        receipt=judge_correction(sample, intervals.centre),
    )


def _read_kind(content: dict[str, Any]) -> KindCalibration:
    intervals, correction = content["intervals"], content["correction"]
    scale = intervals["scale"]
    knots = {name: tuple(scale[name]) for name in ("knots", "factors")}
    steps = {name: tuple(correction[name]) for name in ("predicted", "corrected")}
    return KindCalibration(
        intervals=Intervals(**intervals | {"scale": Scale(**scale | knots)}),
        correction=Correction(**correction | steps),
        receipt=ShrinkageReceipt(**content["receipt"]),
    )
