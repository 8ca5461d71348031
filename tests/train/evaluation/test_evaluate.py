from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.train.evaluation.evaluate import FOREST, R_BAND, Comparison, compare, compare_with_truth, judge_comparison
from skymetal.train.evaluation.rivals import Rival


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


def test_a_comparison_keeps_the_columns_of_its_galaxies() -> None:
    targets = pa.table(
        {
            "object_id": [6, 5, 4, 3, 2, 1],
            "oh_p50": [None, 9.0, None, None, 8.6, 8.4],
            "redshift": [0.6, 0.5, 0.4, 0.3, 0.2, 0.1],
            "lgm_tot_p50": [10.0, -9999.0, 10.0, 10.0, 9.2, 9.1],
        }
    )
    (known,) = compare_with_truth(catalogue(), targets, label="oh_p50")
    redshift, lgm = known.values("redshift"), known.values("lgm_tot_p50")
    assert redshift is not None
    assert lgm is not None
    assert redshift.tolist() == [0.1, 0.2, 0.5]
    assert np.isnan(lgm).tolist() == [False, False, True]
    assert known.values("petroR90_r") is None


def full_comparison(num_galaxies: int = 300) -> Comparison:
    random = np.random.default_rng(0)
    truth = random.normal(9, 0.2, num_galaxies)
    prediction = truth + random.normal(0, 0.1, num_galaxies)
    rows = pa.table(
        {
            "object_id": np.arange(num_galaxies),
            "oh_p2p5": prediction - 0.196,
            "oh_p16": prediction - 0.1,
            "oh_p84": prediction + 0.1,
            "oh_p97p5": prediction + 0.196,
            "modelMag_r": random.uniform(14, 18, num_galaxies),
            "lgm_tot_p50": random.uniform(9, 11, num_galaxies),
        }
    )
    return compare("t", "t", pa.chunked_array([truth]), pa.chunked_array([prediction]), rows)


def test_a_judgement_measures_what_the_columns_allow() -> None:
    comparison = full_comparison()
    random = np.random.default_rng(1)
    rivals = [
        Rival(
            name=name,
            title=name,
            object_id_S=np.arange(280),
            oh_S=comparison.truth_N[:280] + random.normal(0, 0.2, 280),
        )
        for name in (R_BAND, FOREST)
    ]
    judgement = judge_comparison(comparison, rivals)
    assert [duel.name for duel in judgement.rivals] == [R_BAND, FOREST]
    assert {item.by for item in judgement.coverage} == {"all", "prediction", "modelMag_r"}
    assert {item.by for item in judgement.bins} == {"truth", "prediction"}
    assert judgement.information is not None
    assert judgement.information.num_galaxies == 280
    assert judgement.information.gain_interval[0] > 0
    assert judgement.mass_metallicity is not None
    numbers = judgement.to_json()
    assert numbers["rivals"][0]["difference"]["rmse"] < 0
    json.dumps(numbers, allow_nan=False)


def test_a_judgement_of_two_columns_alone_is_still_one() -> None:
    values = pa.chunked_array([[8.0, 8.5, 9.0]])
    judgement = judge_comparison(compare("t", "t", values, pa.chunked_array([[8.5, 8.5, 8.5]])))
    assert (judgement.bins, judgement.coverage, judgement.rivals) == ([], [], [])
    assert judgement.information is judgement.mass_metallicity is None
    assert judgement.to_json()["shrinkage"]["slope_of_truth"] is None
