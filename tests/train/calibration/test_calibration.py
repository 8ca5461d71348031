from __future__ import annotations

import tomllib

import numpy as np
import pytest
import tomli_w
from support.honest_predictions import draw_galaxies

from skymetal.catalogs.schema import CALIBRATED
from skymetal.train.calibration.calibration import MIN_TEST_GALAXIES, Calibration, fit_calibration


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return fit_calibration(draw_galaxies(800, "views", seed=0), draw_galaxies(400, "views", seed=1, error_factor=0.8))


def test_each_kind_of_galaxy_has_its_own_intervals(calibration: Calibration) -> None:
    fresh = draw_galaxies(2000, "views", seed=2)
    is_out_of_fold_N = np.arange(2000) % 3 == 0
    columns = calibration.apply(fresh.prediction_N, fresh.std_views_N, is_out_of_fold_N, num_views=8)
    assert list(columns) == list(CALIBRATED)
    assert all(values_N.dtype == np.float64 and np.isfinite(values_N).all() for values_N in columns.values())
    for kind, rows_N in ((calibration.out_of_fold, is_out_of_fold_N), (calibration.new, ~is_out_of_fold_N)):
        alone = kind.intervals.percentiles(fresh.prediction_N[rows_N], fresh.std_views_N[rows_N], num_views=8)
        assert all((columns[name][rows_N] == values_N).all() for name, values_N in alone.items())
    assert calibration.new.intervals.fitted_on == "test"
    assert calibration.new.receipt.num_galaxies == 400


def test_a_galaxys_row_does_not_depend_on_the_others(calibration: Calibration) -> None:
    fresh = draw_galaxies(100, "views", seed=3)
    is_out_of_fold_N = np.arange(100) % 2 == 0
    together = calibration.apply(fresh.prediction_N, fresh.std_views_N, is_out_of_fold_N, num_views=4)
    for n in range(100):
        row = slice(n, n + 1)
        alone = calibration.apply(fresh.prediction_N[row], fresh.std_views_N[row], is_out_of_fold_N[row], num_views=4)
        assert all(alone[name].tobytes() == values_N[row].tobytes() for name, values_N in together.items())


@pytest.mark.parametrize("num_test", [None, MIN_TEST_GALAXIES - 1])
def test_without_enough_of_a_test_set_new_galaxies_are_treated_as_those_out_of_fold(num_test: int | None) -> None:
    test = None if num_test is None else draw_galaxies(num_test, "views", seed=1)
    calibration = fit_calibration(draw_galaxies(300, "views", seed=0), test)
    assert calibration.new == calibration.out_of_fold
    assert calibration.new.intervals.fitted_on == "out_of_fold"


@pytest.mark.parametrize("num_galaxies", [2, 8, 400])
def test_it_survives_as_text(num_galaxies: int) -> None:
    calibration = fit_calibration(draw_galaxies(num_galaxies, "prediction", seed=0, num_folds=2))
    text = tomli_w.dumps(calibration.to_dict())
    assert Calibration.from_dict(tomllib.loads(text)) == calibration


def test_text_that_was_tampered_with_is_refused(calibration: Calibration) -> None:
    content = calibration.to_dict()
    content["new"]["intervals"]["scale"]["base"] = -1.0
    with pytest.raises(ValueError, match="a scale needs base > 0"):
        Calibration.from_dict(content)
    del content["new"]
    with pytest.raises(KeyError):
        Calibration.from_dict(content)


def test_no_galaxies_give_no_rows(calibration: Calibration) -> None:
    none_N = np.empty(0)
    columns = calibration.apply(none_N, none_N, np.empty(0, dtype=bool), num_views=8)
    assert {len(values_N) for values_N in columns.values()} == {0}
