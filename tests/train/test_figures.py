from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from skymetal.train.figures import MANY_GALAXIES, draw_evaluation


@pytest.mark.parametrize("num_galaxies", [3, MANY_GALAXIES])
def test_the_same_table_gives_the_same_picture(num_galaxies: int) -> None:
    random = np.random.default_rng(0)
    truth = random.normal(9, 0.2, num_galaxies)
    prediction = truth + random.normal(0, 0.1, num_galaxies)
    picture = draw_evaluation(truth, prediction, title="a title")
    assert picture == draw_evaluation(truth, prediction, title="a title")
    assert picture != draw_evaluation(truth, prediction + 0.05, title="a title")
    image = Image.open(io.BytesIO(picture))
    assert image.size == (832, 1120)
    assert len(set(image.convert("L").tobytes())) > 20
