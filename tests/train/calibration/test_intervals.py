from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from support.honest_predictions import BIAS_DEX, draw_galaxies, draw_view_spread

from skymetal.train.calibration.intervals import (
    Intervals,
    Sample,
    Scale,
    conformal_quantile,
    fit_intervals,
    fit_scale,
    refit_quantiles,
    unbiased_variance,
)
from skymetal.train.evaluation.metrics import Values

FLAT = Scale(base=0.01, views=0.0, typical_view_variance=0.0, knots=(), factors=())


def coverage(intervals: Intervals, fresh: Sample, rows: NDArray[np.bool_] | slice = slice(None)) -> tuple[float, float]:
    """Return which fraction of fresh galaxies the 68 % and the 95 % interval hold."""
    edges = intervals.percentiles(fresh.prediction_N, fresh.std_views_N, num_views=8)
    middle, wide = (
        (edges[low] <= fresh.truth_N) & (fresh.truth_N <= edges[high])
        for low, high in (("oh_p16", "oh_p84"), ("oh_p2p5", "oh_p97p5"))
    )
    return float(middle[rows].mean()), float(wide[rows].mean())


@pytest.mark.parametrize("cause", ["nothing", "views", "prediction"])
@pytest.mark.parametrize(("num_galaxies", "tolerance"), [(320, 0.02), (3000, 0.01)])
def test_fresh_galaxies_are_covered_whatever_makes_them_uncertain(
    cause: str, num_galaxies: int, tolerance: float
) -> None:
    found = []
    for seed in range(20):  # one calibration of 320 galaxies alone is off by 0.026: the mean is what is promised
        intervals = fit_intervals(draw_galaxies(num_galaxies, cause, seed=seed))
        found.append(coverage(intervals, draw_galaxies(4000, cause, seed=1000 + seed)))
    middle, wide = np.mean(found, axis=0)
    assert middle == pytest.approx(0.68, abs=tolerance)
    assert wide == pytest.approx(0.95, abs=tolerance)


@pytest.mark.parametrize("cause", ["views", "prediction"])
def test_certain_and_uncertain_galaxies_are_covered_alike(cause: str) -> None:
    fresh = draw_galaxies(20_000, cause, seed=1)
    intervals = fit_intervals(draw_galaxies(4000, cause, seed=0))
    flat = replace(intervals, scale=FLAT, quantiles=refit_quantiles(replace(intervals, scale=FLAT), fresh).quantiles)
    cause_N = fresh.std_views_N if cause == "views" else -fresh.prediction_N
    low, high = np.quantile(cause_N, [0.25, 0.75])
    for rows in (cause_N < low, cause_N > high):
        assert coverage(intervals, fresh, rows)[0] == pytest.approx(0.68, abs=0.035)
        assert abs(coverage(flat, fresh, rows)[0] - 0.68) > 0.07  # what one width for all would do
    widths = (lambda edges: edges["oh_p84"] - edges["oh_p16"])(
        intervals.percentiles(fresh.prediction_N, fresh.std_views_N, num_views=8)
    )
    assert np.corrcoef(widths, cause_N)[0, 1] > 0.5


@pytest.mark.parametrize("num_galaxies", [4, 8])
def test_a_handful_of_galaxies_gets_wide_finite_intervals(num_galaxies: int) -> None:
    found, widths = [], []
    for seed in range(60):
        intervals = fit_intervals(draw_galaxies(num_galaxies, "nothing", seed=seed, num_folds=2))
        fresh = draw_galaxies(500, "nothing", seed=1000 + seed)
        edges = intervals.percentiles(fresh.prediction_N, fresh.std_views_N, num_views=8)
        assert all(np.isfinite(values_N).all() for values_N in edges.values())
        found.append(coverage(intervals, fresh))
        widths.append(np.mean(edges["oh_p97p5"] - edges["oh_p2p5"]))
    assert np.median(widths) > 2 * 1.96 * 0.1
    if num_galaxies == 8:
        assert np.mean(found, axis=0)[0] > 0.68
        assert np.mean(found, axis=0)[1] > 0.95


def test_percentiles_increase_and_the_middle_one_is_the_prediction_moved_by_the_bias() -> None:
    sample = draw_galaxies(500, "views", seed=4)
    intervals = fit_intervals(sample)
    edges = intervals.percentiles(sample.prediction_N, sample.std_views_N, num_views=8)
    assert (np.diff(np.array(list(edges.values())), axis=0) >= 0).all()
    assert np.allclose(edges["oh_p50"] - sample.prediction_N, intervals.centre, atol=1e-12)
    assert intervals.centre == pytest.approx(BIAS_DEX, abs=0.015)


def test_galaxies_that_are_all_alike_or_all_exact_get_an_interval() -> None:
    same = np.full(10, 8.9)
    for truth_N in (same, same + 0.1, np.linspace(8.5, 9.3, 10)):
        sample = Sample(truth_N=truth_N, prediction_N=same, std_views_N=np.zeros(10), part_N=np.arange(10) % 2)
        edges = fit_intervals(sample).percentiles(same, np.zeros(10), num_views=8)
        assert all(np.isfinite(values_N).all() for values_N in edges.values())


def test_a_wild_outlier_does_not_change_the_scale_of_the_others() -> None:
    sample = draw_galaxies(400, "views", seed=2)
    residual_N = sample.truth_N - sample.prediction_N
    variance_N = unbiased_variance(sample.std_views_N, 8)
    clean = fit_scale(residual_N, sample.prediction_N, variance_N)
    residual_N[7] = 3.0
    wild = fit_scale(residual_N, sample.prediction_N, variance_N)
    sigmas = [scale.sigma(sample.prediction_N, sample.std_views_N, num_views=8) for scale in (clean, wild)]
    assert np.abs(np.log(sigmas[1] / sigmas[0])).max() < 0.15


def test_noise_is_not_taken_for_a_cause() -> None:
    sample = draw_galaxies(320, "nothing", seed=3)
    scale = fit_intervals(sample).scale
    sigma_N = scale.sigma(sample.prediction_N, sample.std_views_N, num_views=8)
    assert sigma_N.std() / sigma_N.mean() < 0.12


def test_fewer_views_at_scoring_keep_the_coverage() -> None:
    sample, _ = draw_view_spread(3000, seed=5)
    fresh, fresh_NV = draw_view_spread(8000, seed=6)
    intervals = fit_intervals(sample)
    for num_views in (1, 2, 4, 8):
        seen_NV = fresh_NV[:, :num_views]
        edges = intervals.percentiles(seen_NV.mean(axis=1), seen_NV.std(axis=1), num_views=num_views)
        inside = (edges["oh_p16"] <= fresh.truth_N) & (fresh.truth_N <= edges["oh_p84"])
        assert inside.mean() == pytest.approx(0.68, abs=0.03), num_views


def test_conformal_quantiles_count_the_new_galaxy_among_the_ranks() -> None:
    score_N = np.arange(1.0, 100.0) - 50  # 99 scores: ranks of 1 % each
    assert conformal_quantile(score_N, 0.16) == score_N[15]
    assert conformal_quantile(score_N, 0.84) == score_N[83]
    assert conformal_quantile(score_N, 0.025) == score_N[1]
    assert conformal_quantile(score_N, 0.975) == score_N[97]
    assert conformal_quantile(score_N[:20], 0.975) > np.abs(score_N[:20]).max()


def test_a_test_set_narrows_the_intervals_of_better_predictions() -> None:
    intervals = fit_intervals(draw_galaxies(1000, "views", seed=0))
    better = draw_galaxies(1000, "views", seed=1, error_factor=0.8)
    refitted = refit_quantiles(intervals, better)
    fresh = draw_galaxies(10_000, "views", seed=2, error_factor=0.8)
    assert coverage(intervals, fresh)[0] > 0.73
    assert coverage(refitted, fresh) == pytest.approx((0.68, 0.95), abs=0.03)
    assert (refitted.centre, refitted.scale, refitted.fitted_on) == (intervals.centre, intervals.scale, "test")


def test_values_that_are_wrong_cannot_exist() -> None:
    sample = draw_galaxies(10, "views", seed=0)
    intervals = fit_intervals(sample)
    for wrong in ({"truth_N": sample.truth_N[:3]}, {"prediction_N": np.full(10, np.nan)}):
        with pytest.raises(ValueError, match="a calibration needs"):
            replace(sample, **wrong)
    for scale in ({"base": 0.0}, {"knots": (8.0, 8.0), "factors": (1.0, 1.0)}, {"knots": (8.0,)}):
        with pytest.raises(ValueError, match="a scale needs"):
            replace(intervals.scale, **scale)
    with pytest.raises(ValueError, match="quantiles that increase"):
        replace(intervals, quantiles=intervals.quantiles | {"oh_p16": 0.3})
    with pytest.raises(ValueError, match="finite quantiles"):
        replace(intervals, centre=float("nan"))


def values(*numbers: float) -> Values:
    return np.array(numbers, dtype=np.float64)


def test_a_galaxy_far_outside_the_sample_is_taken_for_one_at_its_edge() -> None:
    scale = Scale(base=0.01, views=1.0, typical_view_variance=0.0, knots=(8.5, 9.0), factors=(2.0, 1.0))
    assert scale.variance(values(5.0, 8.5, 8.75, 9.0, 12.0), values(0, 0, 0, 0, 0)) == pytest.approx(
        values(0.02, 0.02, 0.015, 0.01, 0.01)
    )
