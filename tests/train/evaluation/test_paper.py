from __future__ import annotations

from typing import Any

from skymetal.train.evaluation.paper import (
    HEADER,
    PUBLISHED,
    resolution_beside_paper,
    rows_beside_paper,
    shrinkage_beside_paper,
)


def numbers() -> dict[str, Any]:
    return {
        "rmse": 0.09,
        "rmse_interval": [0.08, 0.1],
        "nmad": 0.07,
        "bias": -0.01,
        "rmse_of_median": 0.21,
        "shrinkage": {"high_truth": 0.2, "high_prediction": 0.1},
        "rivals": [{"name": "forest_v16", "rmse": 0.12, "rmse_interval": [0.11, 0.13], "nmad": 0.1, "bias": 0.0}],
        "information": {"combined_rmse": 0.1, "combined_rmse_interval": [0.09, 0.11]},
        "mass_metallicity": {"prediction": {"rmse": 0.11, "rmse_interval": [0.1, 0.12], "nmad": 0.1, "bias": 0.0}},
    }


def test_every_published_line_has_its_counterpart_where_there_is_one() -> None:
    rows = {row[0]: row[1:] for row in rows_beside_paper(numbers())}
    assert len(rows) == len(PUBLISHED)
    assert all(len(row) == len(HEADER) - 1 for row in rows.values())
    assert rows["single network"][:6] == ("0.0851", "0.0668", "-0.0060", "0.0900", "[0.0800, 0.1000]", "0.0700")
    assert rows["random forest (V16)"][3] == "0.1200"
    assert rows["the median for every galaxy"][3] == "0.2100"
    assert rows["predicted mass–metallicity scatter"][3] == "0.1100"
    assert rows["forest and r band, 1/MSE added"][3:6] == ("0.1000", "[0.0900, 0.1100]", "–")
    assert rows["r band alone"][3:7] == ("–", "–", "–", "–")


def test_an_evaluation_of_two_columns_alone_stands_beside_the_paper_too() -> None:
    alone = {name: value for name, value in numbers().items() if name not in ("rivals", "information")}
    alone["mass_metallicity"] = None
    assert rows_beside_paper(alone)[3][4] == "–"


def test_the_resolution_study_and_the_shares_above_9_1_are_a_line_each() -> None:
    assert resolution_beside_paper(numbers(), size_pix=64).startswith(
        "RMSE by size of image: here 64 px 0.0900 (paper: 128"
    )
    assert "here not known" in resolution_beside_paper(numbers())
    assert shrinkage_beside_paper(numbers()) == (
        "above 9.1: 20.0 % of the truths, 10.0 % of the predictions (paper: 12.6 %, 5.7 %)"
    )
