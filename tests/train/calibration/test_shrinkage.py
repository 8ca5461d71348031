from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.honest_predictions import draw_shrunk

from skymetal.train.calibration.shrinkage import Correction, fit_correction, judge_correction
from skymetal.train.evaluation.diagnostics import HIGH_OH


def test_it_undoes_a_known_shrinkage() -> None:
    truth_N = draw_shrunk(2000, seed=0).truth_N
    for shrunk_N in (8.9 + 0.5 * (truth_N - 8.9), 8.9 + np.tanh(truth_N - 8.9) / 2):
        corrected_N = fit_correction(truth_N, shrunk_N).apply(shrunk_N)
        assert np.abs(corrected_N - truth_N)[np.argsort(truth_N)[20:-20]].max() < 0.02


@pytest.mark.parametrize("num_galaxies", [2, 8, 320, 5000])
def test_it_is_strictly_increasing_and_finite_everywhere(num_galaxies: int) -> None:
    for seed in range(20):
        sample = draw_shrunk(num_galaxies, seed=seed)
        correction = fit_correction(sample.truth_N, sample.prediction_N)
        grid_N = np.linspace(6.0, 11.0, 4001)
        corrected_N = correction.apply(grid_N)
        assert np.isfinite(corrected_N).all()
        assert (np.diff(corrected_N) > 0).all()
        assert len(correction.predicted) <= max(2, num_galaxies // 40)


def test_predictions_that_are_all_alike_are_moved_and_not_spread() -> None:
    correction = fit_correction(np.linspace(8.6, 9.2, 50), np.full(50, 8.8))
    assert np.diff(correction.apply(np.array([8.0, 8.8, 9.0]))) == pytest.approx([0.8, 0.2])


def test_the_receipt_is_of_galaxies_that_had_no_part_in_the_map() -> None:
    sample = draw_shrunk(4000, seed=1)
    receipt = judge_correction(sample, centre=0.0)
    assert (receipt.num_galaxies, receipt.threshold) == (4000, HIGH_OH)
    assert receipt.slope_before == pytest.approx(0.6, abs=0.02)
    assert receipt.slope_after > 0.9
    assert receipt.share_true == pytest.approx(np.mean(sample.truth_N > HIGH_OH))
    assert receipt.share_before < 0.5 * receipt.share_true
    assert receipt.share_after == pytest.approx(receipt.share_true, abs=0.015)
    # On a sample of noise the map of a fold cannot know the fold's own galaxies.
    noise_N = np.random.default_rng(0).normal(8.9, 0.1, 40)
    random = judge_correction(replace(draw_shrunk(40, seed=2), prediction_N=noise_N), centre=0.0)
    assert random.rmse_after > random.rmse_before


def test_the_price_of_the_right_distribution_is_a_larger_error_a_galaxy() -> None:
    random = np.random.default_rng(30)
    sample = draw_shrunk(4000, seed=3)
    noisy_N = 0.1 * random.standard_normal(4000) + sample.truth_N
    best_N = 8.9 + np.var(sample.truth_N) / np.var(noisy_N) * (noisy_N - 8.9)
    receipt = judge_correction(replace(sample, prediction_N=best_N), centre=0.0)
    assert receipt.rmse_after > 1.02 * receipt.rmse_before


def test_a_map_that_is_not_one_cannot_exist() -> None:
    good = Correction(predicted=(8.5, 9.0), corrected=(8.4, 9.1), outer_slope=1.2)
    assert good.apply(np.array([8.0, 8.75, 9.5])) == pytest.approx([7.8, 8.75, 9.7])
    for wrong in ({"predicted": (9.0, 8.5)}, {"corrected": (8.4, 8.4)}):
        with pytest.raises(ValueError, match="knots that increase"):
            replace(good, **wrong)
    for wrong in ({"predicted": ()}, {"outer_slope": 0.0}):
        with pytest.raises(ValueError, match="a correction needs as many"):
            replace(good, **wrong)
