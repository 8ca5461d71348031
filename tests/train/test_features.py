from __future__ import annotations

import numpy as np
import pytest

from skymetal.train.features import FeatureSpace, fit_feature_space

RANDOM = np.random.default_rng(0)
SCALES = np.array([5.0, 1.0, 0.2, 0.0])


def galaxies(number: int) -> np.ndarray:
    return (RANDOM.normal(size=(number, 4)) * SCALES + 3).astype(np.float32)


def test_one_in_a_hundred_held_out_galaxies_is_beyond_the_limit() -> None:
    space = fit_feature_space(galaxies(4000), galaxies(4000))
    assert np.mean(space.distance(galaxies(20_000)) > 1) == pytest.approx(0.01, abs=0.004)


def test_distance_is_counted_in_spreads_not_in_units() -> None:
    space = fit_feature_space(galaxies(4000), galaxies(1000))
    centre = np.full(4, 3, np.float32)
    steps = np.diag([5.0, 1.0, 0.2]).astype(np.float32)
    distances = space.distance(np.stack([centre + np.append(step, 0).astype(np.float32) for step in steps]))
    assert distances.max() / distances.min() < 1.3
    assert space.distance(centre[None])[0] < 0.02
    assert space.distance((centre + np.array([0, 0, 0, 5], np.float32))[None])[0] > 1  # where nothing ever varied


def test_fewer_galaxies_than_features_still_make_a_space() -> None:
    few = RANDOM.normal(size=(20, 64)).astype(np.float32)
    space = fit_feature_space(few, few)
    assert np.isfinite(space.distance(few)).all()
    alike = fit_feature_space(np.ones((5, 8), np.float32), np.ones((5, 8), np.float32))
    assert np.isfinite(alike.distance(np.zeros((1, 8), np.float32))).all()


def test_it_survives_its_file_and_another_file_is_refused() -> None:
    space = fit_feature_space(galaxies(100), galaxies(50))
    again = FeatureSpace.from_bytes(space.to_bytes())
    some = galaxies(7)
    assert (again.distance(some) == space.distance(some)).all()
    assert again.to_bytes() == space.to_bytes()
    broken = FeatureSpace(mean_F=space.mean_F, whitening_FF=space.whitening_FF * np.nan, limit=1.0)
    for data in (b"", b"not safetensors", space.to_bytes()[:-5], broken.to_bytes()):
        with pytest.raises(ValueError):
            FeatureSpace.from_bytes(data)
