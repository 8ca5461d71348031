from __future__ import annotations

import itertools

import numpy as np
import pytest

from skymetal.train.evaluation.diagnostics import bin_errors, equal_bins, measure_coverage, measure_shrinkage
from skymetal.train.evaluation.metrics import rmse


def test_bins_hold_equal_counts_and_every_galaxy_with_a_value() -> None:
    values = np.random.default_rng(0).permutation(1005).astype(np.float64)
    values[:5] = np.nan
    bins = equal_bins(values)
    assert [len(rows) for rows in bins] == [100] * 10
    assert sorted(np.concatenate(bins).tolist()) == list(range(5, 1005))
    for left, right in itertools.pairwise(bins):
        assert values[left].max() < values[right].min()


def test_too_few_galaxies_get_fewer_bins_or_none() -> None:
    assert len(equal_bins(np.arange(119.0))) == 2
    assert equal_bins(np.arange(39.0)) == []


def test_shrunk_predictions_are_too_high_for_low_truths_and_right_for_their_own_value() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(8.9, 0.2, 20000)
    measured = truth + random.normal(0, 0.2, 20000)
    prediction = 8.9 + (measured - 8.9) / 2  # the best guess where half of the variance is noise
    bins = bin_errors(truth, prediction)
    by_truth = [item.metrics.bias for item in bins if item.by == "truth"]
    by_prediction = [item.metrics.bias for item in bins if item.by == "prediction"]
    assert by_truth[0] > 0.1
    assert by_truth[-1] < -0.1
    assert max(map(abs, by_prediction)) < 0.02
    shrinkage = measure_shrinkage(truth, prediction)
    assert shrinkage.slope_of_prediction == pytest.approx(0.5, abs=0.02)
    assert shrinkage.slope_of_truth == pytest.approx(1, abs=0.02)
    assert shrinkage.high_truth > 2 * shrinkage.high_prediction


def test_a_bin_says_where_it_is_and_how_good_it_is() -> None:
    truth = np.linspace(8, 9, 80)
    first, second = [item for item in bin_errors(truth, truth + 0.1) if item.by == "truth"]
    assert (first.low, second.high) == (8, 9)
    assert first.low < first.centre < first.high < second.low
    assert first.metrics.rmse == pytest.approx(rmse(truth, truth + 0.1))
    assert first.to_dict()["num_galaxies"] == 40


def test_coverage_counts_the_truths_in_each_interval_over_all_and_in_bins() -> None:
    truth = np.tile([0.0, 1.0, 2.0, 3.0], 20)
    zero, one, two = (np.full(80, value) for value in (0.0, 1.0, 2.0))
    whole, low, high = measure_coverage(truth, (zero, one), (zero, two), {"redshift": truth})
    assert (whole.by, whole.num_galaxies, whole.coverage_68, whole.coverage_95) == ("all", 80, 0.5, 0.75)
    assert (low.by, low.coverage_68, low.coverage_95) == ("redshift", 1.0, 1.0)
    assert (high.coverage_68, high.coverage_95) == (0.0, 0.5)
    assert high.to_dict()["low"] == 2
