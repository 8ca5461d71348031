from __future__ import annotations

import numpy as np
import pytest

from skymetal.catalogs.selection.simulated import mass_metallicity
from skymetal.train.evaluation.mass import measure_mass_metallicity, predict_from_mass
from skymetal.train.evaluation.photometry import FoldedTable


def test_scatter_is_measured_about_the_curve_where_it_was_fitted() -> None:
    lgm = np.array([9.0, 10.0, 11.0, 12.5, np.nan])
    truth = mass_metallicity(lgm) + np.array([0.1, 0.2, 0.3, 9.0, 9.0])
    numbers = measure_mass_metallicity(lgm, truth, mass_metallicity(lgm) - 0.1)
    assert numbers is not None
    assert numbers.truth.num_galaxies == 3
    assert numbers.truth.bias == pytest.approx(0.2)
    assert numbers.truth.nmad == pytest.approx(0.1 * 1.4826)
    assert numbers.prediction.rmse == pytest.approx(0.1)
    assert numbers.prediction.nmad == pytest.approx(0, abs=1e-12)
    assert measure_mass_metallicity(lgm[2:], truth[2:], truth[2:]) is None


def test_mass_alone_finds_a_parabola_without_seeing_the_fold_that_it_predicts() -> None:
    lgm = np.linspace(9, 11, 60)
    truth = mass_metallicity(lgm)
    fold = np.arange(60) % 3
    fold[:10] = -1
    table = FoldedTable(
        object_id_N=np.arange(60),
        fold_N=fold,
        label_N=np.where(fold < 0, np.nan, truth),
        columns={"lgm_tot_p50": lgm},
    )
    rival = predict_from_mass(table)
    assert np.abs(rival.predict(np.arange(60)) - truth).max() < 1e-9
    spoilt = np.where(fold == 1, 7.0, table.label_N)
    other = predict_from_mass(
        FoldedTable(object_id_N=table.object_id_N, fold_N=fold, label_N=spoilt, columns=table.columns)
    )
    assert np.allclose(other.oh_S[fold == 1], truth[fold == 1])
    assert not np.allclose(other.oh_S[fold == 0], truth[fold == 0])
