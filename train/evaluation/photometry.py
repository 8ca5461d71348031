"""What a predictor without images knows: the galaxies' table values, on the folds of the ensemble. N galaxies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skymetal.train.evaluation.metrics import Values

MAGNITUDES = ("modelMag_g", "modelMag_r", "modelMag_i")
"""What the paper's random forests are given (Wu & Boada 2019, section 4.1)."""
MASS = "lgm_tot_p50"
"""log10 of the stellar mass, Msun, median of the survey's own estimate."""
MIN_TRAINING_GALAXIES = 20
_POSSIBLE = dict.fromkeys(MAGNITUDES, (0.0, 40.0)) | {MASS: (5.0, 13.0)}
"""What is outside is no measurement: SDSS writes −9999, others 99."""


@dataclass(frozen=True, kw_only=True)
class FoldedTable:
    """Galaxies with table values and the ensemble's folds; fold -1 and label NaN where it never saw the galaxy."""

    object_id_N: NDArray[np.int64]
    fold_N: NDArray[np.int64]
    label_N: Values
    columns: Mapping[str, Values]

    def obstacle(self, names: Sequence[str]) -> str:
        """Return why the folds cannot be predicted from these columns; nothing where they can."""
        missing = [name for name in names if name not in self.columns]
        if missing:
            return f"the target list has no {missing[0]}"
        known_N = np.isfinite(self.features(names)).all(axis=1) & (self.fold_N >= 0)
        num_known, num_folds = np.count_nonzero(known_N), len(np.unique(self.fold_N[known_N]))
        if num_known < MIN_TRAINING_GALAXIES or num_folds < 2:
            wanted = f"{MIN_TRAINING_GALAXIES} in 2 folds or more are needed"
            return f"only {num_known} galaxies that the ensemble was trained on have {', '.join(names)}; {wanted}"
        return ""

    def features(self, names: Sequence[str]) -> Values:
        """Return the columns as (N, F)."""
        return np.stack([self.columns[name] for name in names], axis=1)

    def complete(self, names: Sequence[str]) -> FoldedTable:
        """Return the galaxies that have all these columns, finite."""
        return self.keep(np.asarray(np.isfinite(self.features(names)).all(axis=1)))

    def keep(self, rows_N: NDArray[np.bool_]) -> FoldedTable:
        """Return the galaxies that are chosen."""
        return FoldedTable(
            object_id_N=self.object_id_N[rows_N],
            fold_N=self.fold_N[rows_N],
            label_N=self.label_N[rows_N],
            columns={name: value_N[rows_N] for name, value_N in self.columns.items()},
        )


def fold_table(targets: pa.Table, out_of_fold: pa.Table, *, label: str, wanted: NDArray[np.int64]) -> FoldedTable:
    """Join a target list with an ensemble's out-of-fold table (object_id, fold, ``label_true``), by object_id.

    Kept are the galaxies that the ensemble was trained on, and those ``wanted`` besides, in object_id order, so that
    what is learnt from them does not depend on the order of the list. What is no measurement becomes NaN.
    """
    targets = targets.sort_by("object_id")
    object_id_N = targets["object_id"].to_numpy()
    fold_N = np.full(len(object_id_N), -1, np.int64)
    label_N = np.full(len(object_id_N), np.nan)
    seen = out_of_fold["object_id"].to_numpy()
    place_S = np.searchsorted(object_id_N, seen).clip(max=len(object_id_N) - 1)
    is_here_S = object_id_N[place_S] == seen
    fold_N[place_S[is_here_S]] = out_of_fold["fold"].to_numpy()[is_here_S]
    label_N[place_S[is_here_S]] = out_of_fold[f"{label}_true"].to_numpy()[is_here_S]
    columns = {name: possible(targets[name], name) for name in _POSSIBLE if name in targets.column_names}
    table = FoldedTable(object_id_N=object_id_N, fold_N=fold_N, label_N=label_N, columns=columns)
    return table.keep((fold_N >= 0) | np.isin(object_id_N, wanted))


def possible(column: pa.ChunkedArray, name: str) -> Values:
    """Return a column of a survey as (N,), NaN where it holds none of the values that such a quantity can have."""
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        return np.full(len(column), np.nan)
    value_N = np.array(column.cast(pa.float64()).to_numpy())
    low, high = _POSSIBLE.get(name, (-np.inf, np.inf))
    value_N[~((value_N >= low) & (value_N <= high))] = np.nan
    return value_N
