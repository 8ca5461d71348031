from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.train.evaluation.metrics import compare_paired, evaluate, nmad, rmse


def test_the_measures_of_a_table_small_enough_for_the_back_of_an_envelope() -> None:
    truth = np.array([8.0, 8.5, 9.0, 9.5])
    metrics = evaluate(truth, truth + np.array([0.1, 0.1, 0.3, -0.1]))
    assert metrics.num_galaxies == 4
    assert metrics.rmse == pytest.approx(np.sqrt(0.12 / 4))
    assert metrics.bias == pytest.approx(0.1)
    assert metrics.nmad == pytest.approx(1.4826 * 0.1)
    assert metrics.outlier_fraction == 0.25
    assert metrics.r2 == pytest.approx(1 - 0.03 / 0.3125)


def test_intervals_hold_the_value_and_shrink_with_the_sample() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(9, 0.2, 4000)
    prediction = truth + random.normal(0, 0.1, 4000)
    many, few = evaluate(truth, prediction), evaluate(truth[:100], prediction[:100])
    for name in ("rmse", "nmad", "bias", "outlier_fraction", "r2"):
        low, high = getattr(many, f"{name}_interval")
        assert low < getattr(many, name) < high
        few_low, few_high = getattr(few, f"{name}_interval")
        assert high - low < few_high - few_low
    assert evaluate(truth, prediction) == many
    assert evaluate(truth, prediction, seed=1) != many
    assert many.to_dict()["rmse_interval"] == list(many.rmse_interval)


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        ([1.0], [1.0, 2.0], "truth has shape"),
        ([], [], "no galaxy"),
        ([1.0, np.nan], [1.0, 2.0], "1 of 2 galaxies lack a finite"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(truth: list[float], prediction: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(np.array(truth), np.array(prediction))


def test_a_paired_difference_is_told_where_two_intervals_overlap() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(9, 0.2, 2000)
    shared = random.normal(0, 0.1, 2000)  # what makes a galaxy hard is hard for both
    first, second = truth + shared, truth + 1.05 * shared + random.normal(0, 0.01, 2000)
    difference = compare_paired(truth, first, second)
    assert difference.rmse == pytest.approx(rmse(truth, first) - rmse(truth, second))
    assert difference.nmad == pytest.approx(nmad(truth, first) - nmad(truth, second))
    assert difference.rmse_interval[1] < 0
    assert evaluate(truth, second).rmse_interval[0] < evaluate(truth, first).rmse_interval[1]
    assert compare_paired(truth, first, second) == difference
    same = compare_paired(truth, first, first)
    assert (same.rmse, same.rmse_interval) == (0.0, (0.0, 0.0))
    assert same.to_dict()["nmad_interval"] == [0.0, 0.0]


def test_a_paired_difference_of_other_galaxies_is_refused() -> None:
    three, two = np.array([8.0, 8.5, 9.0]), np.array([8.0, 8.5])
    with pytest.raises(InputError, match="second \\(2,\\)"):
        compare_paired(three, three, two)
    with pytest.raises(InputError, match="1 of 3 galaxies lack"):
        compare_paired(three, three, np.array([8.0, np.nan, 9.0]))


def test_the_published_predictions_give_the_published_numbers(real_data: Path) -> None:
    table = np.genfromtxt(real_data / "published" / "wu-boada-2019-predictions.csv", delimiter=",", skip_header=1)
    metrics = evaluate(table[:, 1], table[:, 2])
    assert metrics.num_galaxies == 20366
    assert round(metrics.rmse, 4) == 0.0850
    assert round(metrics.nmad, 4) == 0.0650
    assert round(metrics.bias, 4) == -0.0104
    assert round(100 * metrics.outlier_fraction, 2) == 3.17
    assert round(metrics.r2, 2) == 0.82
