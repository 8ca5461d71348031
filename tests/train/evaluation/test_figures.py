from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from skymetal.train.evaluation.drawing import MANY_GALAXIES
from skymetal.train.evaluation.figures import Panel, draw_evaluation, draw_panels
from skymetal.train.evaluation.metrics import evaluate


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


@pytest.mark.parametrize("num_galaxies", [50, MANY_GALAXIES])
def test_panels_stand_side_by_side_and_are_the_same_bytes_again(num_galaxies: int) -> None:
    random = np.random.default_rng(0)
    truth = random.normal(9, 0.2, num_galaxies)
    panels = []
    for title, scatter in (("r band alone", 0.15), ("random forest (V16)", 0.12), ("colour images", 0.08)):
        prediction = truth + random.normal(0, scatter, num_galaxies)
        panels.append(Panel(title=title, truth_N=truth, prediction_N=prediction, metrics=evaluate(truth, prediction)))
    picture = draw_panels(panels)
    assert picture == draw_panels(panels)
    wide, narrow = (Image.open(io.BytesIO(draw_panels(panels[:count]))).size for count in (3, 2))
    assert wide[0] > narrow[0]
    assert wide[1] == narrow[1]
