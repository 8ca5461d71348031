"""The paper's photometric baselines: random forests on three magnitudes, grown by scikit-learn, which is optional."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import numpy as np

from skymetal.train.evaluation.metrics import Values
from skymetal.train.evaluation.photometry import MAGNITUDES, FoldedTable
from skymetal.train.evaluation.rivals import Rival, predict_by_fold


@dataclass(frozen=True, kw_only=True)
class ForestSpec:
    """A random forest of the paper, by the two settings in which they differ; the rest is scikit-learn's default."""

    name: str
    title: str
    num_trees: int
    min_samples_leaf: int


DEFAULT = ForestSpec(name="forest_default", title="random forest, 10 trees", num_trees=10, min_samples_leaf=1)
V16 = ForestSpec(name="forest_v16", title="random forest (V16)", num_trees=40, min_samples_leaf=8)
"""As Vilalta et al. 2016 chose it; the paper's comparison model."""
FORESTS = (DEFAULT, V16)


def forest_obstacle(table: FoldedTable) -> str:
    """Return why no forest can be grown here; nothing where one can."""
    if find_spec("sklearn") is None:
        return "scikit-learn is not installed; pip install 'skymetal[paper]'"
    return table.obstacle(MAGNITUDES)


def grow_forest(spec: ForestSpec, table: FoldedTable, *, seed: int) -> Rival:
    """Predict every galaxy that has all three magnitudes from the galaxies of other folds.

    The same table and seed give the same bytes. Raises ImportError without scikit-learn: ask forest_obstacle first.
    """
    # By name, since the import is optional: only this function needs it.
    ensemble = import_module("sklearn.ensemble")

    def fit_and_predict(known_TF: Values, label_T: Values, wanted_PF: Values) -> Values:
        forest = ensemble.RandomForestRegressor(
            n_estimators=spec.num_trees, min_samples_leaf=spec.min_samples_leaf, random_state=seed % 2**32
        )
        forest.fit(known_TF, label_T)
        return np.asarray(forest.predict(wanted_PF), np.float64)

    usable = table.complete(MAGNITUDES)
    oh_N = predict_by_fold(usable.features(MAGNITUDES), usable.label_N, usable.fold_N, fit_and_predict)
    return Rival(name=spec.name, title=spec.title, object_id_S=usable.object_id_N, oh_S=oh_N)
