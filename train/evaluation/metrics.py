"""The field's numbers for predictions against truth, with bootstrap intervals. Pure numpy.

N galaxies, B resamplings of them, dex.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.measures import NMAD_SCALE, OUTLIER_DEX

NUM_RESAMPLINGS = 200
BATCH_ROWS = 1 << 18
"""So many resampled galaxies are in memory at once."""

Values = NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """How good predictions are; the intervals hold the middle 95 % of bootstrap resamplings of the galaxies."""

    num_galaxies: int
    rmse: float
    nmad: float
    bias: float
    outlier_fraction: float
    r2: float
    rmse_interval: Interval
    nmad_interval: Interval
    bias_interval: Interval
    outlier_fraction_interval: Interval
    r2_interval: Interval

    def to_dict(self) -> dict[str, int | float | list[float]]:
        """Return plain values for a report or a file."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def rmse(truth_N: Values, prediction_N: Values) -> float:
    """Return the root of the mean squared difference."""
    return float(root_mean_square(prediction_N - truth_N))


def bias(truth_N: Values, prediction_N: Values) -> float:
    """Return the median of prediction minus truth."""
    return float(_median(prediction_N - truth_N))


def nmad(truth_N: Values, prediction_N: Values) -> float:
    """Return the scatter that outliers do not move: 1.4826 times the median distance from the median difference."""
    return float(_nmad(prediction_N - truth_N))


def outlier_fraction(truth_N: Values, prediction_N: Values) -> float:
    """Return the fraction that is wrong by more than 0.2 dex."""
    return float(_outlier_fraction(prediction_N - truth_N))


def r2(truth_N: Values, prediction_N: Values) -> float:
    """Return the fraction of the variance of truth that is predicted; NaN where truth is constant."""
    return float(_r2(truth_N, prediction_N - truth_N))


def evaluate(
    truth: NDArray[np.floating],
    prediction: NDArray[np.floating],
    *,
    num_resamplings: int = NUM_RESAMPLINGS,
    seed: int = 0,
) -> Metrics:
    """Return all measures and their intervals; the same arrays and seed give the same numbers.

    Raises InputError where the arrays differ in length, are empty, or hold a value that is not finite.
    """
    truth_N, prediction_N = _checked(truth, prediction=prediction)
    difference_N = prediction_N - truth_N
    drawn: dict[str, list[Values]] = {name: [] for name in (*_OF_DIFFERENCE, "r2")}
    for rows_BN in resampled_rows(len(truth_N), num_resamplings=num_resamplings, seed=seed):
        difference_BN = difference_N[rows_BN]
        for name, measure in _OF_DIFFERENCE.items():
            drawn[name].append(measure(difference_BN))
        drawn["r2"].append(_r2(truth_N[rows_BN], difference_BN))
    values: dict[str, Any] = {name: float(measure(difference_N)) for name, measure in _OF_DIFFERENCE.items()}
    values["r2"] = float(_r2(truth_N, difference_N))
    values |= {f"{name}_interval": middle_95(batches) for name, batches in drawn.items()}
    return Metrics(num_galaxies=len(truth_N), **values)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What one prediction has more than another of the same galaxies, dex: below 0, the first is the better one.

    The intervals hold the middle 95 % of resamplings in which both are judged by the same rows, so that what makes a
    sample hard for both is no part of them.
    """

    num_galaxies: int
    rmse: float
    nmad: float
    rmse_interval: Interval
    nmad_interval: Interval

    def to_dict(self) -> dict[str, int | float | list[float]]:
        """Return plain values for a report or a file."""
        return {
            "num_galaxies": self.num_galaxies,
            "rmse": self.rmse,
            "nmad": self.nmad,
            "rmse_interval": list(self.rmse_interval),
            "nmad_interval": list(self.nmad_interval),
        }


def compare_paired(
    truth: NDArray[np.floating],
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    *,
    num_resamplings: int = NUM_RESAMPLINGS,
    seed: int = 0,
) -> Difference:
    """Return the measures of ``first`` minus those of ``second``; raises InputError as :func:`evaluate` does."""
    truth_N, first_N, second_N = _checked(truth, first=first, second=second)
    first_N, second_N = first_N - truth_N, second_N - truth_N
    drawn: dict[str, list[Values]] = {"rmse": [], "nmad": []}
    for rows_BN in resampled_rows(len(truth_N), num_resamplings=num_resamplings, seed=seed):
        first_BN, second_BN = first_N[rows_BN], second_N[rows_BN]
        for name, batches in drawn.items():
            measure = _OF_DIFFERENCE[name]
            batches.append(measure(first_BN) - measure(second_BN))
    values: dict[str, Any] = {}
    for name, batches in drawn.items():
        values[name] = float(_OF_DIFFERENCE[name](first_N) - _OF_DIFFERENCE[name](second_N))
        values[f"{name}_interval"] = middle_95(batches)
    return Difference(num_galaxies=len(truth_N), **values)


def resampled_rows(
    num_galaxies: int, *, num_resamplings: int = NUM_RESAMPLINGS, seed: int = 0
) -> Iterator[NDArray[np.int64]]:
    """Yield row numbers drawn with replacement, (B, N), in batches that stay small in memory however large N is."""
    random = np.random.default_rng(seed)
    batch = max(1, BATCH_ROWS // num_galaxies)
    for first in range(0, num_resamplings, batch):
        yield random.integers(num_galaxies, size=(min(batch, num_resamplings - first), num_galaxies))


def middle_95(batches: Sequence[Values]) -> Interval:
    """Return the limits of the middle 95 % of bootstrap values."""
    low, high = np.quantile(np.concatenate(batches), [0.025, 0.975])
    return float(low), float(high)


def root_mean_square(difference_BN: Values) -> Values:
    """Return the root of the mean square along the last axis."""
    return np.asarray(np.sqrt(np.mean(difference_BN**2, axis=-1)))


def _checked(truth: NDArray[np.floating], **predictions: NDArray[np.floating]) -> list[Values]:
    """Return truth and predictions as float64, one value a galaxy each; raise InputError where they are not."""
    truth_N = np.asarray(truth, np.float64)
    is_finite_N = np.isfinite(truth_N)
    arrays = [truth_N]
    for name, prediction in predictions.items():
        prediction_N = np.asarray(prediction, np.float64)
        if truth_N.ndim != 1 or truth_N.shape != prediction_N.shape:
            raise InputError(f"truth has shape {truth_N.shape}, {name} {prediction_N.shape}; give both for each galaxy")
        is_finite_N = is_finite_N & np.isfinite(prediction_N)
        arrays.append(prediction_N)
    if not len(truth_N):
        raise InputError("there is no galaxy with both truth and prediction; nothing can be evaluated")
    num_bad = int(np.count_nonzero(~is_finite_N))
    if num_bad:
        raise InputError(f"{num_bad} of {len(truth_N)} galaxies lack a finite truth or prediction; drop them first")
    return arrays


def _median(difference_BN: Values) -> Values:
    return np.asarray(np.median(difference_BN, axis=-1))


def _nmad(difference_BN: Values) -> Values:
    middle = np.median(difference_BN, axis=-1, keepdims=True)
    return np.asarray(NMAD_SCALE * np.median(np.abs(difference_BN - middle), axis=-1))


def _outlier_fraction(difference_BN: Values) -> Values:
    return np.asarray(np.mean(np.abs(difference_BN) > OUTLIER_DEX, axis=-1))


def _r2(truth_BN: Values, difference_BN: Values) -> Values:
    variance = np.var(truth_BN, axis=-1)
    unexplained = np.mean(difference_BN**2, axis=-1)
    is_defined = np.ptp(truth_BN, axis=-1) > 0  # the variance of equal numbers need not round to 0
    return np.asarray(np.where(is_defined, 1 - unexplained / np.where(is_defined, variance, 1), np.nan))


_OF_DIFFERENCE: dict[str, Callable[[Values], Values]] = {
    "rmse": root_mean_square,
    "nmad": _nmad,
    "bias": _median,
    "outlier_fraction": _outlier_fraction,
}
"""The measures that need prediction minus truth alone, along the last axis."""
