from __future__ import annotations

import sys

import numpy as np
import pytest

from skymetal.train.evaluation.forest import DEFAULT, V16, forest_obstacle, grow_forest
from skymetal.train.evaluation.metrics import rmse
from skymetal.train.evaluation.photometry import FoldedTable

NUM_GALAXIES = 400


def blue_is_poor() -> tuple[FoldedTable, np.ndarray]:
    """Return galaxies whose colour g - r tells their metallicity, the last fifty of them new; and the truth."""
    random = np.random.default_rng(0)
    colour = random.uniform(0.2, 0.8, NUM_GALAXIES)
    truth = 8.3 + colour + random.normal(0, 0.03, NUM_GALAXIES)
    r_mag = random.uniform(15, 18, NUM_GALAXIES)
    magnitudes = {"modelMag_g": r_mag + colour, "modelMag_r": r_mag, "modelMag_i": r_mag - colour / 2}
    fold = np.arange(NUM_GALAXIES) % 5
    fold[-50:] = -1
    table = FoldedTable(
        object_id_N=np.arange(NUM_GALAXIES),
        fold_N=fold,
        label_N=np.where(fold < 0, np.nan, truth),
        columns=magnitudes,
    )
    return table, truth


@pytest.mark.parametrize("spec", [DEFAULT, V16])
def test_a_forest_predicts_galaxies_that_it_never_saw_and_the_same_way_again(spec: object) -> None:
    pytest.importorskip("sklearn")
    table, truth = blue_is_poor()
    assert isinstance(spec, type(V16))
    rival = grow_forest(spec, table, seed=3)
    error = rmse(truth, rival.predict(table.object_id_N))
    assert 0.03 < error < 0.6 * truth.std()  # a forest that had seen them would be better than the noise
    assert rmse(truth[-50:], rival.predict(table.object_id_N)[-50:]) < 0.6 * truth.std()
    assert grow_forest(spec, table, seed=3).oh_S.tobytes() == rival.oh_S.tobytes()
    assert grow_forest(spec, table, seed=4).oh_S.tobytes() != rival.oh_S.tobytes()


def test_galaxies_without_a_magnitude_are_left_out() -> None:
    pytest.importorskip("sklearn")
    table, _ = blue_is_poor()
    r_mag = table.columns["modelMag_r"].copy()
    r_mag[7] = np.nan
    columns = {**table.columns, "modelMag_r": r_mag}
    table = FoldedTable(object_id_N=table.object_id_N, fold_N=table.fold_N, label_N=table.label_N, columns=columns)
    rival = grow_forest(DEFAULT, table, seed=0)
    assert np.flatnonzero(np.isnan(rival.predict(table.object_id_N))).tolist() == [7]


def test_without_scikit_learn_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    table, _ = blue_is_poor()
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert forest_obstacle(table) == "scikit-learn is not installed; pip install 'skymetal[paper]'"
