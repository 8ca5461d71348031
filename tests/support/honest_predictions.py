"""Galaxies whose errors are known: truths, predictions that never saw them, and a spread over views."""

from __future__ import annotations

import numpy as np

from skymetal.train.calibration.intervals import Sample
from skymetal.train.evaluation.metrics import Values

BIAS_DEX = 0.02


def draw_galaxies(num_galaxies: int, cause: str, *, seed: int, num_folds: int = 5, error_factor: float = 1.0) -> Sample:
    """Draw galaxies whose residual scatters by 0.1 dex, or by what the views or the prediction tell."""
    random = np.random.default_rng(seed)
    prediction_N = 8.9 + 0.17 * random.standard_normal(num_galaxies) - 0.05 * random.exponential(1, num_galaxies)
    view_sigma_N = 0.03 * np.exp(0.5 * random.standard_normal(num_galaxies))
    sigma_N = {
        "nothing": np.full(num_galaxies, 0.1),
        "views": np.hypot(0.04, 2.5 * view_sigma_N),
        "prediction": 0.06 + 0.25 * np.clip(9.0 - prediction_N, 0, 0.5),
    }[cause]
    residual_N = BIAS_DEX + error_factor * sigma_N * random.standard_normal(num_galaxies)
    return Sample(
        truth_N=prediction_N + residual_N,
        prediction_N=prediction_N,
        std_views_N=view_sigma_N * np.sqrt(random.chisquare(7, num_galaxies) / 8),
        part_N=random.integers(num_folds, size=num_galaxies),
    )


def draw_view_spread(num_galaxies: int, *, seed: int) -> tuple[Sample, Values]:
    """Draw galaxies whose eight views scatter on their own, by as much as half of the whole error; and the views."""
    random = np.random.default_rng(seed)
    middle_N = 8.9 + 0.17 * random.standard_normal(num_galaxies)
    views_NV = middle_N[:, None] + 0.05 * random.standard_normal((num_galaxies, 8))
    sample = Sample(
        truth_N=middle_N + 0.08 * random.standard_normal(num_galaxies),
        prediction_N=views_NV.mean(axis=1),
        std_views_N=views_NV.std(axis=1),
        part_N=random.integers(5, size=num_galaxies),
    )
    return sample, views_NV


def draw_shrunk(num_galaxies: int, *, seed: int, slope: float = 0.6) -> Sample:
    """Draw galaxies with a tail of poor ones, whose predictions crowd towards the mean by ``slope``."""
    random = np.random.default_rng(seed)
    truth_N = 9.0 + 0.12 * random.standard_normal(num_galaxies) - 0.12 * random.exponential(1, num_galaxies)
    return Sample(
        truth_N=truth_N,
        prediction_N=8.9 + slope * (truth_N - 8.9) + 0.04 * random.standard_normal(num_galaxies),
        std_views_N=np.full(num_galaxies, 0.02),
        part_N=random.integers(5, size=num_galaxies),
    )
