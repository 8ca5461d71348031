"""The field's numbers for predictions against truth, with bootstrap intervals. Pure numpy; N galaxies, dex."""

from __future__ import annotations

from collections.abc import Callable
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


def evaluate(
    truth: NDArray[np.floating], prediction: NDArray[np.floating], *, num_resamplings: int = 200, seed: int = 0
) -> Metrics:
    """Return all measures and their intervals; the same arrays and seed give the same numbers.

    Raises InputError where the arrays differ in length, are empty, or hold a value that is not finite.
    """
    truth_N, prediction_N = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    if truth_N.ndim != 1 or truth_N.shape != prediction_N.shape:
        raise InputError(f"truth has shape {truth_N.shape}, prediction {prediction_N.shape}; give both for each galaxy")
    if not len(truth_N):
        raise InputError("there is no galaxy with both truth and prediction; nothing can be evaluated")
    num_bad = int(np.count_nonzero(~(np.isfinite(truth_N) & np.isfinite(prediction_N))))
    if num_bad:
        raise InputError(f"{num_bad} of {len(truth_N)} galaxies lack a finite truth or prediction; drop them first")
    random = np.random.default_rng(seed)
    drawn = [random.integers(len(truth_N), size=len(truth_N)) for _ in range(num_resamplings)]
    values: dict[str, Any] = {}
    for name, measure in MEASURES.items():
        values[name] = measure(truth_N, prediction_N)
        resampled = [measure(truth_N[rows], prediction_N[rows]) for rows in drawn]
        low, high = np.quantile(resampled, [0.025, 0.975])
        values[f"{name}_interval"] = (float(low), float(high))
    return Metrics(num_galaxies=len(truth_N), **values)
