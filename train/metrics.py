"""The field's numbers for predictions against truth, with bootstrap intervals. Pure numpy; N galaxies, dex."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError

OUTLIER_DEX = 0.2
NMAD_SCALE = 1.4826
"""Makes the median absolute deviation of a normal distribution its standard deviation."""

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
    return float(np.sqrt(np.mean((prediction_N - truth_N) ** 2)))


def bias(truth_N: Values, prediction_N: Values) -> float:
    """Return the median of prediction minus truth."""
    return float(np.median(prediction_N - truth_N))


def nmad(truth_N: Values, prediction_N: Values) -> float:
    """Return the scatter that outliers do not move: 1.4826 times the median distance from the median difference."""
    difference_N = prediction_N - truth_N
    return float(NMAD_SCALE * np.median(np.abs(difference_N - np.median(difference_N))))


def outlier_fraction(truth_N: Values, prediction_N: Values) -> float:
    """Return the fraction that is wrong by more than 0.2 dex."""
    return float(np.mean(np.abs(prediction_N - truth_N) > OUTLIER_DEX))


def r2(truth_N: Values, prediction_N: Values) -> float:
    """Return the fraction of the variance of truth that is predicted; NaN where truth is constant."""
    variance = float(np.var(truth_N))
    return 1 - rmse(truth_N, prediction_N) ** 2 / variance if variance > 0 else float("nan")


MEASURES: dict[str, Callable[[Values, Values], float]] = {
    "rmse": rmse,
    "nmad": nmad,
    "bias": bias,
    "outlier_fraction": outlier_fraction,
    "r2": r2,
}


NUM_RESAMPLINGS = 200


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
    resampled: dict[str, list[float]] = {name: [] for name in MEASURES}
    for rows in resampled_rows(len(truth_N), num_resamplings=num_resamplings, seed=seed):
        drawn_truth, drawn_prediction = truth_N[rows], prediction_N[rows]
        for name, measure in MEASURES.items():
            resampled[name].append(measure(drawn_truth, drawn_prediction))
    values: dict[str, Any] = {name: measure(truth_N, prediction_N) for name, measure in MEASURES.items()}
    values |= {f"{name}_interval": middle_95(drawn) for name, drawn in resampled.items()}
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
    values: dict[str, Any] = {}
    drawn: dict[str, list[float]] = {"rmse": [], "nmad": []}
    for rows in resampled_rows(len(truth_N), num_resamplings=num_resamplings, seed=seed):
        for name, differences in drawn.items():
            measure = MEASURES[name]
            differences.append(measure(truth_N[rows], first_N[rows]) - measure(truth_N[rows], second_N[rows]))
    for name, differences in drawn.items():
        values[name] = MEASURES[name](truth_N, first_N) - MEASURES[name](truth_N, second_N)
        values[f"{name}_interval"] = middle_95(differences)
    return Difference(num_galaxies=len(truth_N), **values)


def resampled_rows(
    num_galaxies: int, *, num_resamplings: int = NUM_RESAMPLINGS, seed: int = 0
) -> Iterator[NDArray[np.int64]]:
    """Yield row numbers drawn with replacement, num_galaxies at a time; one resampling is in memory at once."""
    random = np.random.default_rng(seed)
    for _ in range(num_resamplings):
        yield random.integers(num_galaxies, size=num_galaxies)


def middle_95(values: list[float]) -> Interval:
    """Return the limits of the middle 95 % of bootstrap values."""
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


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
