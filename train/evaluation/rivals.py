"""Other ways to predict the same galaxies, and what is learnt by setting them beside the ensemble. N galaxies, dex."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError
from skymetal.train.evaluation.diagnostics import Shrinkage, measure_shrinkage
from skymetal.train.evaluation.metrics import (
    Difference,
    Interval,
    Metrics,
    Values,
    compare_paired,
    evaluate,
    middle_95,
    resampled_rows,
    root_mean_square,
)

MIN_GALAXIES = 3
"""Below this the numbers mean nothing, and some are not defined."""
FitAndPredict = Callable[[Values, Values, Values], Values]
"""Features (T, F) and labels (T,) to learn from, features (P, F) to predict for; returns (P,)."""


@dataclass(frozen=True, kw_only=True)
class Rival:
    """Another prediction of the same quantity, one for each of its galaxies: no predictor saw the one it predicts."""

    name: str
    title: str
    object_id_S: NDArray[np.int64]
    oh_S: Values

    def __post_init__(self) -> None:
        if self.object_id_S.shape != self.oh_S.shape:
            raise ValueError(f"{len(self.object_id_S)} galaxies, but {len(self.oh_S)} predictions")
        if len(np.unique(self.object_id_S)) != len(self.object_id_S):
            raise InputError(f"{self.title}: an object_id stands in more than one row; keep one row a galaxy")

    def predict(self, object_id_N: NDArray[np.int64]) -> Values:
        """Return the prediction for each galaxy, NaN for one that is not known here."""
        if not len(self.object_id_S):
            return np.full(len(object_id_N), np.nan)
        order = np.argsort(self.object_id_S, kind="stable")
        place_N = np.searchsorted(self.object_id_S, object_id_N, sorter=order).clip(max=len(order) - 1)
        row_N = order[place_N]
        return np.where(self.object_id_S[row_N] == object_id_N, self.oh_S[row_N], np.nan)


@dataclass(frozen=True, kw_only=True)
class Duel:
    """A rival judged on the galaxies that the ensemble predicts too; difference: the ensemble's error minus its."""

    name: str
    title: str
    metrics: Metrics
    shrinkage: Shrinkage
    difference: Difference

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a report or a file."""
        return {
            "name": self.name,
            "title": self.title,
            **self.metrics.to_dict(),
            "shrinkage": self.shrinkage.to_dict(),
            "difference": self.difference.to_dict(),
        }


@dataclass(frozen=True, kw_only=True)
class Information:
    """Whether two predictors know different things (Wu & Boada 2019, section 4.1).

    1/MSE of independent predictors adds: combined_rmse is what the forest and the r band would reach together, were
    colour and shape all there is. gain is combined_rmse minus colour_rmse: above 0, the colour images hold more.
    """

    num_galaxies: int
    combined_rmse: float
    colour_rmse: float
    gain: float
    combined_rmse_interval: Interval
    colour_rmse_interval: Interval
    gain_interval: Interval

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a report or a file."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items()}


def judge(rival: Rival, *, object_id_N: NDArray[np.int64], truth_N: Values, prediction_N: Values) -> Duel | None:
    """Compare a rival with the ensemble's ``prediction_N`` on the galaxies that both predict; None if below three."""
    oh_N = rival.predict(object_id_N)
    both_N = np.isfinite(oh_N)
    if np.count_nonzero(both_N) < MIN_GALAXIES:
        return None
    truth, ours, theirs = truth_N[both_N], prediction_N[both_N], oh_N[both_N]
    return Duel(
        name=rival.name,
        title=rival.title,
        metrics=evaluate(truth, theirs),
        shrinkage=measure_shrinkage(truth, theirs),
        difference=compare_paired(truth, ours, theirs),
    )


def add_information(truth_N: Values, parts: Sequence[Values], colour_N: Values) -> Information | None:
    """Return what independent ``parts`` would reach together, beside ``colour_N``; rows that any lacks are left out."""
    known_N = np.isfinite([truth_N, colour_N, *parts]).all(axis=0)
    if np.count_nonzero(known_N) < MIN_GALAXIES:
        return None
    arrays = [values[known_N] for values in (truth_N, colour_N, *parts)]
    drawn = [_information([values[rows_BN] for values in arrays]) for rows_BN in resampled_rows(len(arrays[0]))]
    values: dict[str, Any] = {}
    for k, name in enumerate(("combined_rmse", "colour_rmse", "gain")):
        values[name] = float(_information(arrays)[k])
        values[f"{name}_interval"] = middle_95([numbers[k] for numbers in drawn])
    return Information(num_galaxies=len(arrays[0]), **values)


def _information(arrays: Sequence[Values]) -> tuple[Values, Values, Values]:
    truth_BN, colour_BN, *parts = arrays
    with np.errstate(divide="ignore"):  # a part without error knows all: 1/MSE is infinite, the sum's error 0
        combined = sum(1 / root_mean_square(part_BN - truth_BN) ** 2 for part_BN in parts) ** -0.5
    colour = root_mean_square(colour_BN - truth_BN)
    return combined, colour, combined - colour


def predict_by_fold(
    features_NF: Values, label_N: Values, fold_N: NDArray[np.int64], fit_and_predict: FitAndPredict
) -> Values:
    """Predict each fold's galaxies from the others', and those of fold -1, which have no label, from all; (N,)."""
    prediction_N = np.full(len(label_N), np.nan)
    for fold in np.unique(fold_N):
        known, wanted = (fold_N >= 0) & (fold_N != fold), fold_N == fold
        prediction_N[wanted] = fit_and_predict(features_NF[known], label_N[known], features_NF[wanted])
    return prediction_N
