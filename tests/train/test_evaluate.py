from __future__ import annotations

import json

import pyarrow as pa
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.train.evaluate import compare, compare_with_truth, format_comparisons


def catalogue() -> pa.Table:
    return pa.table(
        {
            "object_id": [1, 2, 3, 4, 5, 6],
            "oh_p50": [8.5, 8.6, 8.7, 8.8, 8.9, 9.0],
            "is_out_of_fold": [True, True, False, False, True, False],
        }
    )


def test_galaxies_are_matched_by_id_and_split_by_who_saw_them() -> None:
    targets = pa.table(
        {
            "object_id": [6, 5, 4, 3, 2, 1],
            "oh_p50": [None, 9.0, None, None, 8.6, 8.4],
            "oh_true": [9.1, 9.05, 8.8, 8.8, 8.65, 8.45],
        }
    )
    known, new = compare_with_truth(catalogue(), targets, label="oh_p50")
    assert (known.name, new.name) == ("out_of_fold", "new_simulated")
    assert known.truth_N.tolist() == [8.4, 8.6, 9.0]
    assert known.prediction_N.tolist() == [8.5, 8.6, 8.9]
    assert known.metrics.rmse == pytest.approx((0.02 / 3) ** 0.5)
    assert known.rmse_of_mean == pytest.approx(0.2494, abs=1e-4)
    assert new.truth_N.tolist() == [8.8, 8.8, 9.1]


def test_without_any_truth_there_is_nothing_to_compare() -> None:
    assert compare_with_truth(catalogue(), pa.table({"object_id": [1, 2]}), label="oh_p50") == []


def test_labels_of_galaxies_that_an_ensemble_never_saw_are_used() -> None:
    targets = pa.table({"object_id": [3, 4, 6], "oh_p50": [8.7, 8.9, 9.0]})
    (new,) = compare_with_truth(catalogue(), targets, label="oh_p50")
    assert new.name == "new"
    assert new.metrics.num_galaxies == 3


def test_rows_without_both_values_are_left_out() -> None:
    comparison = compare(
        "t",
        "t",
        pa.chunked_array([[8.0, None, 8.2, float("nan"), 8.5, 8.7]]),
        pa.chunked_array([[8.1, 8.1, None, 8.0, 8.5, 8.6]]),
    )
    assert comparison.metrics.num_galaxies == 3
    assert comparison.to_json()["num_galaxies"] == 3
    json.dumps(comparison.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("truth", "message"), [([8.0, 9.0], "only 2 galaxies have both"), ([8.0] * 4, "all truths are equal")]
)
def test_too_few_galaxies_or_equal_truths_are_refused(truth: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        compare("t", "t", pa.chunked_array([truth]), pa.chunked_array([truth]))


def test_the_text_sets_the_mean_predictor_beside_the_rmse() -> None:
    comparison = compare("t", "a title", pa.chunked_array([[8.0, 8.5, 9.0]]), pa.chunked_array([[8.0, 8.5, 9.0]]))
    text = format_comparisons([comparison])
    assert text.startswith("a title: 3 galaxies")
    assert "the mean for every galaxy: 0.4082" in text
