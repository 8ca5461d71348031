"""How far the truth may lie from a prediction, galaxy by galaxy: a scale for each, and conformal quantiles over it.

N galaxies, dex. A residual is truth minus prediction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.schema import PERCENTILES
from skymetal.engine.predict import NUM_VIEWS
from skymetal.train.evaluation.metrics import Values

HELD_OUT_VIEWS = max(NUM_VIEWS)
"""Galaxies that a member is judged by are predicted in all views."""
GALAXIES_PER_BIN = 60
MAX_BINS = 20
MIN_VARIANCE = 1e-8
"""dex²: no galaxy is known better than to 0.0001 dex."""
MIN_FRACTION = 0.05
"""No galaxy's variance is predicted to be a smaller part of the typical one, in either step of the fit."""
CLIP_SIGMA = 3.0
_NUM_ITERATIONS = 4


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Galaxies with a truth and an honest prediction, the mean over eight views.

    std_views_N is the standard deviation over these views (not corrected for their number); part_N says who may not
    be fitted together with whom: the fold.
    """

    truth_N: Values
    prediction_N: Values
    std_views_N: Values
    part_N: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not len(self.truth_N) == len(self.prediction_N) == len(self.std_views_N) == len(self.part_N) > 1:
            raise ValueError("a calibration needs arrays of one length, and two galaxies at least")
        if not all(np.isfinite(values).all() for values in (self.truth_N, self.prediction_N, self.std_views_N)):
            raise ValueError("a calibration needs truths, predictions and spreads that are finite")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The variance that a galaxy's residual is expected to have: (base + views · v) · factor, dex².

    v is the variance from view to view, typical_view_variance its mean over the galaxies of the fit; factor runs
    linearly between knots of the prediction and is constant beyond them (and 1 without knots).
    """

    base: float
    views: float
    typical_view_variance: float
    knots: tuple[float, ...]
    factors: tuple[float, ...]

    def __post_init__(self) -> None:
        if not (self.base > 0 and self.views >= 0 and self.typical_view_variance >= 0):
            raise ValueError("a scale needs base > 0, views >= 0 and typical_view_variance >= 0")
        if len(self.knots) != len(self.factors) or not all(factor > 0 for factor in self.factors):
            raise ValueError("a scale needs one factor > 0 a knot")
        if any(right <= left for left, right in zip(self.knots, self.knots[1:], strict=False)):
            raise ValueError("a scale needs knots that increase")

    def variance(self, prediction_N: Values, view_variance_N: Values) -> Values:
        """Return the expected square of each residual, dex²."""
        variance_N = self.base + self.views * view_variance_N
        return variance_N * np.interp(prediction_N, self.knots, self.factors) if self.knots else variance_N

    def sigma(self, prediction_N: Values, std_views_N: Values, *, num_views: int) -> Values:
        """Return the expected size of each residual, dex, for predictions that average ``num_views`` views.

        Fewer views than the fit had make the prediction noisier by what their mean would scatter; with one view
        there is no spread to go by, and every galaxy has the typical one.
        """
        if num_views == 1:
            view_variance_N = np.full_like(std_views_N, self.typical_view_variance)
        else:
            view_variance_N = unbiased_variance(std_views_N, num_views)
        noise_N = view_variance_N * (1 / num_views - 1 / HELD_OUT_VIEWS)
        return np.sqrt(self.variance(prediction_N, view_variance_N) + noise_N)


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """The percentiles of the truth about a prediction: prediction + centre + quantile · sigma.

    fitted_on says which galaxies gave the quantiles; those are named as in the catalogue.
    """

    fitted_on: str
    num_galaxies: int
    centre: float
    scale: Scale
    quantiles: dict[str, float]

    def __post_init__(self) -> None:
        values = [self.quantiles[name] for name in PERCENTILES]
        if not (all(map(math.isfinite, (self.centre, *values))) and values == sorted(values)):
            raise ValueError("intervals need finite quantiles that increase with their level")

    def percentiles(self, prediction_N: Values, std_views_N: Values, *, num_views: int) -> dict[str, Values]:
        """Return each percentile, increasing with its level; a galaxy's do not depend on the others."""
        centred_N = prediction_N + self.centre
        sigma_N = self.scale.sigma(prediction_N, std_views_N, num_views=num_views)
        return {name: centred_N + self.quantiles[name] * sigma_N for name in PERCENTILES}


def unbiased_variance(std_N: Values, num_views: int) -> Values:
    """Return the variance from view to view that a standard deviation over ``num_views`` of them stands for."""
    return std_N**2 * (num_views / (num_views - 1))


def fit_scale(residual_N: Values, prediction_N: Values, view_variance_N: Values) -> Scale:
    """Fit the variance of residuals: first on the variance over views, then, what is left, on the prediction.

    Each step is shrunk towards one variance for all, the more the fewer the galaxies. A residual counts for no more
    than three of its sigmas: an outlier says little about the others.
    """
    square_N = residual_N**2
    base, views = max(float(square_N.mean()), MIN_VARIANCE), 0.0
    knots: tuple[float, ...] = ()
    factors: tuple[float, ...] = ()
    factor_N = np.ones_like(square_N)
    for _ in range(_NUM_ITERATIONS):
        expected_N = base + views * view_variance_N
        clipped_N = np.minimum(square_N, CLIP_SIGMA**2 * expected_N * factor_N)
        base, views = _fit_line(clipped_N / factor_N, view_variance_N, weight_N=expected_N**-2)
        expected_N = base + views * view_variance_N
        knots, factors = _fit_factors(clipped_N / expected_N, prediction_N)
        factor_N = np.interp(prediction_N, knots, factors) if knots else factor_N
    return Scale(
        base=base, views=views, typical_view_variance=float(view_variance_N.mean()), knots=knots, factors=factors
    )


def fit_intervals(sample: Sample) -> Intervals:
    """Fit intervals for galaxies like those of the sample.

    Quantiles are taken over residuals in units of a sigma that was fitted on the other parts (folds): a galaxy that
    helped to set its own sigma would look better than a fresh one. The centre is the median residual.
    """
    residual_N = sample.truth_N - sample.prediction_N
    centre = float(np.median(residual_N))
    view_variance_N = unbiased_variance(sample.std_views_N, HELD_OUT_VIEWS)

    def fit_on(rows_N: NDArray[np.bool_]) -> Scale:
        return fit_scale(residual_N[rows_N] - centre, sample.prediction_N[rows_N], view_variance_N[rows_N])

    score_N = np.empty_like(residual_N)
    for inside_N, others_N in parts(sample.part_N):
        variance_N = fit_on(others_N).variance(sample.prediction_N[inside_N], view_variance_N[inside_N])
        score_N[inside_N] = (residual_N[inside_N] - centre) / np.sqrt(variance_N)
    return Intervals(
        fitted_on="out_of_fold",
        num_galaxies=len(residual_N),
        centre=centre,
        scale=fit_on(np.ones(len(residual_N), dtype=bool)),
        quantiles=score_quantiles(score_N),
    )


def refit_quantiles(intervals: Intervals, test: Sample) -> Intervals:
    """Return the intervals with quantiles from a test set, which had no part in the centre or the scale."""
    sigma_N = intervals.scale.sigma(test.prediction_N, test.std_views_N, num_views=HELD_OUT_VIEWS)
    score_N = (test.truth_N - test.prediction_N - intervals.centre) / sigma_N
    return Intervals(
        fitted_on="test",
        num_galaxies=len(score_N),
        centre=intervals.centre,
        scale=intervals.scale,
        quantiles=score_quantiles(score_N),
    )


def parts(part_N: NDArray[np.int64]) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Return for each part its rows and all other rows; a sample of one part alone is fitted on itself."""
    inside = [part_N == part for part in np.unique(part_N)]
    return [(rows_N, rows_N if rows_N.all() else ~rows_N) for rows_N in inside]


def score_quantiles(score_N: Values) -> dict[str, float]:
    """Return the conformal quantile of each percentile; the middle one is 0, the centre."""
    quantiles = {}
    for name, level in PERCENTILES.items():
        value = conformal_quantile(score_N, level)
        quantiles[name] = 0.0 if level == 0.5 else min(value, 0.0) if level < 0.5 else max(value, 0.0)
    return quantiles


def conformal_quantile(score_N: Values, level: float) -> float:
    """Return the score that a new one exceeds with probability 1 - level, rounded to the cautious side.

    Of n + 1 exchangeable scores each has any rank with the same probability, so the ranks count to n + 1 (Vovk et al.
    2005). Where n scores are too few to show the tail, the largest in size is taken for a normal's and stretched.
    """
    num = len(score_N)
    rank = math.floor((num + 1) * level + 1e-9) if level < 0.5 else math.ceil((num + 1) * level - 1e-9)
    if 1 <= rank <= num:
        return float(np.sort(score_N)[rank - 1])
    stretch = NormalDist().inv_cdf(level) / NormalDist().inv_cdf(num / (num + 1))
    return float(np.abs(score_N).max() * stretch)


def _fit_line(square_N: Values, view_variance_N: Values, *, weight_N: Values) -> tuple[float, float]:
    """Return (base, views) of the line through squared residuals, neither below 0, the slope shrunk by its error."""
    weight_N = weight_N / weight_N.sum()
    mean_square, mean_variance = float(weight_N @ square_N), float(weight_N @ view_variance_N)
    lever_N = weight_N * (view_variance_N - mean_variance)
    spread = float(lever_N @ (view_variance_N - mean_variance))
    slope = float(lever_N @ square_N) / spread if spread > 0 else 0.0
    if slope > 0:
        left_N = square_N - mean_square - slope * (view_variance_N - mean_variance)
        error2 = float(lever_N**2 @ left_N**2) / spread**2
        slope *= max(0.0, 1 - error2 / slope**2)
    least = max(MIN_FRACTION * mean_square, MIN_VARIANCE)
    if slope <= 0 or mean_variance <= 0:
        return max(mean_square, MIN_VARIANCE), 0.0
    slope = min(slope, max(mean_square - least, 0.0) / mean_variance)
    return max(mean_square - slope * mean_variance, least), slope


def _fit_factors(ratio_N: Values, prediction_N: Values) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the factors by which bins of the prediction scatter more or less than all, and the bins' medians.

    Each is a weighted mean of a bin (1/2) and its neighbours (1/4), drawn to 1 by as much as its own error exceeds the
    differences between bins (empirical Bayes).
    """
    num_bins = min(len(ratio_N) // GALAXIES_PER_BIN, MAX_BINS)
    mean = float(ratio_N.mean())
    if num_bins < 2 or mean <= 0:
        return (), ()
    bins = np.array_split(np.argsort(prediction_N, kind="stable"), num_bins)
    factor_B = np.pad([ratio_N[rows].mean() / mean for rows in bins], 1, mode="edge")
    error2_B = np.pad([ratio_N[rows].var() / len(rows) / mean**2 for rows in bins], 1, mode="edge")
    factor_B = (factor_B[:-2] + 2 * factor_B[1:-1] + factor_B[2:]) / 4
    error2_B = (error2_B[:-2] + 4 * error2_B[1:-1] + error2_B[2:]) / 16
    spread2 = max(float(np.mean((factor_B - 1) ** 2 - error2_B)), 0.0)
    factor_B = 1 + (factor_B - 1) * spread2 / np.maximum(spread2 + error2_B, np.finfo(float).tiny)
    knots, first_B = np.unique([np.median(prediction_N[rows]) for rows in bins], return_index=True)
    return tuple(knots.tolist()), tuple(np.maximum(factor_B[first_B], MIN_FRACTION).tolist())
