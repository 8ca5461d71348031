from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from skymetal.train.evaluation.evaluate import compare, judge_comparison
from skymetal.train.evaluation.metrics import compare_paired
from skymetal.train.evaluation.rivals import Rival
from skymetal.train.evaluation.wording import format_comparisons, format_difference, format_judgement


def test_the_text_sets_the_mean_predictor_beside_the_rmse() -> None:
    comparison = compare("t", "a title", pa.chunked_array([[8.0, 8.5, 9.0]]), pa.chunked_array([[8.0, 8.5, 9.0]]))
    text = format_comparisons([comparison])
    assert text.startswith("a title: 3 galaxies")
    assert "the mean for every galaxy: 0.4082" in text


def test_a_judgement_has_a_line_a_rival() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(9, 0.2, 100)
    prediction = truth + random.normal(0, 0.05, 100)
    rows = pa.table({"object_id": np.arange(100), "lgm_tot_p50": np.full(100, 10.0)})
    comparison = compare("t", "t", pa.chunked_array([truth]), pa.chunked_array([prediction]), rows)
    rival = Rival(name="mass", title="stellar mass alone", object_id_S=np.arange(100), oh_S=np.full(100, 9.0))
    text = format_judgement(judge_comparison(comparison, [rival]))
    assert "stellar mass alone: RMSE 0." in text
    assert "better than it" in text
    assert "mass–metallicity" in text


@pytest.mark.parametrize(("scatter", "words"), [(0.05, "better than that"), (0.2, "worse than"), (0.1, "not told")])
def test_a_difference_is_put_into_words_by_its_interval(scatter: float, words: str) -> None:
    random = np.random.default_rng(0)
    truth = random.normal(9, 0.2, 300)
    first, second = (truth + random.normal(0, s, 300) for s in (scatter, 0.1))
    assert words in format_difference(compare_paired(truth, first, second), other="that")
