"""What stellar mass alone says about metallicity: a predictor of it, and the mass–metallicity relation. N galaxies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.selection.simulated import mass_metallicity
from skymetal.train.evaluation.metrics import Metrics, Values, evaluate
from skymetal.train.evaluation.photometry import MASS, FoldedTable
from skymetal.train.evaluation.rivals import MIN_GALAXIES, Rival, predict_by_fold

LGM_RANGE = (8.5, 11.5)
"""Where Tremonti et al. (2004) fitted their curve; outside it is no prediction."""


@dataclass(frozen=True, kw_only=True)
class MassMetallicity:
    """Scatter about Z = −1.492 + 1.847 M − 0.08026 M² (Tremonti et al. 2004), of the truth and of the predictions."""

    truth: Metrics
    prediction: Metrics

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a report or a file."""
        return {"truth": self.truth.to_dict(), "prediction": self.prediction.to_dict()}


def in_range(lgm_N: Values) -> NDArray[np.bool_]:
    """Return (N,): whether a log stellar mass is one that the curve was fitted to; NaN is not."""
    return np.asarray((lgm_N >= LGM_RANGE[0]) & (lgm_N <= LGM_RANGE[1]))


def measure_mass_metallicity(lgm_N: Values, truth_N: Values, prediction_N: Values) -> MassMetallicity | None:
    """Measure both about the curve, for the galaxies of 10^8.5 to 10^11.5 Msun; None where fewer than three are."""
    rows = in_range(lgm_N)
    if np.count_nonzero(rows) < MIN_GALAXIES:
        return None
    curve = mass_metallicity(lgm_N[rows])
    return MassMetallicity(truth=evaluate(curve, truth_N[rows]), prediction=evaluate(curve, prediction_N[rows]))


def predict_from_mass(table: FoldedTable) -> Rival:
    """Predict from log stellar mass by a parabola, fitted to the galaxies of the other folds."""

    def fit_and_predict(known_TF: Values, label_T: Values, wanted_PF: Values) -> Values:
        centre = known_TF.mean()  # a parabola about the mean mass: the same one, better conditioned
        powers_TK, powers_PK = (np.vander(lgm[:, 0] - centre, 3) for lgm in (known_TF, wanted_PF))
        coefficients, *_ = np.linalg.lstsq(powers_TK, label_T, rcond=None)
        return np.asarray(powers_PK @ coefficients)

    usable = table.complete((MASS,))
    lgm_N1 = usable.features((MASS,))
    oh_N = predict_by_fold(lgm_N1, usable.label_N, usable.fold_N, fit_and_predict)
    return Rival(name="mass", title="stellar mass alone", object_id_S=usable.object_id_N, oh_S=oh_N)
