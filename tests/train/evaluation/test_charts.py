from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from skymetal.catalogs.selection.simulated import mass_metallicity
from skymetal.train.evaluation.charts import draw_bins, draw_coverage, draw_mass_metallicity
from skymetal.train.evaluation.diagnostics import bin_errors, measure_coverage
from skymetal.train.evaluation.drawing import MANY_GALAXIES
from skymetal.train.evaluation.mass import measure_mass_metallicity

RANDOM = np.random.default_rng(0)
LGM = RANDOM.uniform(8.7, 11.3, MANY_GALAXIES)
TRUTH = mass_metallicity(LGM) + RANDOM.normal(0, 0.1, MANY_GALAXIES)
PREDICTION = TRUTH + RANDOM.normal(0, 0.1, MANY_GALAXIES)


def is_a_picture(png: bytes) -> bool:
    return len(set(Image.open(io.BytesIO(png)).convert("L").tobytes())) > 20


@pytest.mark.parametrize("num_galaxies", [50, MANY_GALAXIES])
def test_the_mass_metallicity_relation_is_drawn_the_same_way_twice(num_galaxies: int) -> None:
    arrays = [values[:num_galaxies] for values in (LGM, TRUTH, PREDICTION)]
    numbers = measure_mass_metallicity(*arrays)
    assert numbers is not None
    picture = draw_mass_metallicity(*arrays, numbers)
    assert picture == draw_mass_metallicity(*arrays, numbers)
    assert is_a_picture(picture)


def test_errors_in_bins_are_drawn_the_same_way_twice() -> None:
    bins = bin_errors(TRUTH, PREDICTION)
    assert draw_bins(bins) == draw_bins(bins)
    assert is_a_picture(draw_bins(bins))


def test_each_quantity_of_coverage_has_a_panel() -> None:
    intervals = [(PREDICTION - reach, PREDICTION + reach) for reach in (0.1, 0.196)]
    pictures = []
    for by in ({"prediction": PREDICTION}, {"prediction": PREDICTION, "redshift": LGM}):
        coverage = measure_coverage(TRUTH, *intervals, by)
        pictures.append(draw_coverage(coverage))
        assert pictures[-1] == draw_coverage(coverage)
    one, two = (Image.open(io.BytesIO(png)).size for png in pictures)
    assert two[0] > one[0]
