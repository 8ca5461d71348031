"""What an evaluation leaves behind: figures, and its numbers as JSON and CSV."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from skymetal.catalogs.storage import Folder
from skymetal.deploy import run_directory as names
from skymetal.train.evaluation.charts import draw_bins, draw_coverage, draw_mass_metallicity
from skymetal.train.evaluation.evaluate import Comparison, Judgement
from skymetal.train.evaluation.figures import Panel, draw_evaluation, draw_panels
from skymetal.train.evaluation.flat import to_csv
from skymetal.train.evaluation.metrics import evaluate as measure
from skymetal.train.evaluation.photometry import MASS
from skymetal.train.evaluation.rivals import MIN_GALAXIES, Rival

NUMBERS_CSV = "evaluation.csv"


def write_numbers(folder: Folder, numbers: Sequence[dict[str, Any]]) -> None:
    """Write the same numbers nested, as JSON, and flat, as CSV."""
    folder.write(names.EVALUATION, json.dumps(numbers, sort_keys=True, indent=1, allow_nan=False).encode())
    folder.write(NUMBERS_CSV, to_csv(numbers))


def write_figures(folder: Folder, judgement: Judgement, rivals: Sequence[Rival], *, own_title: str) -> list[str]:
    """Draw what was judged; return the names of the figures. One of an earlier evaluation that this cannot draw goes.

    Each of ``rivals`` has a panel, and the ensemble, under ``own_title``, the last.
    """
    comparison = judgement.comparison
    figures = dict.fromkeys(("", "_panels", "_binned", "_coverage", "_mzr"), b"")
    figures[""] = draw_evaluation(
        comparison.truth_N, comparison.prediction_N, title=comparison.title, metrics=comparison.metrics
    )
    panels = _panels(comparison, rivals, own_title=own_title)
    if panels:
        figures["_panels"] = draw_panels(panels)
    if judgement.bins:
        figures["_binned"] = draw_bins(judgement.bins)
    if len({item.by for item in judgement.coverage}) > 1:
        figures["_coverage"] = draw_coverage(judgement.coverage)
    lgm_N = comparison.values(MASS)
    if judgement.mass_metallicity and lgm_N is not None:
        figures["_mzr"] = draw_mass_metallicity(
            lgm_N, comparison.truth_N, comparison.prediction_N, judgement.mass_metallicity
        )
    pictures = {f"{comparison.name}{suffix}.png": png for suffix, png in figures.items()}
    for name, png in pictures.items():
        if png:
            folder.write(name, png)
        else:
            folder.remove(name)
    return [name for name, png in pictures.items() if png]


def _panels(comparison: Comparison, rivals: Sequence[Rival], *, own_title: str) -> list[Panel]:
    """Return one panel a rival and the ensemble's own, all of the galaxies that every one of them predicts."""
    if not rivals:
        return []
    object_id_N = comparison.rows["object_id"].to_numpy()
    predictions = {rival.title: rival.predict(object_id_N) for rival in rivals}
    predictions[own_title] = comparison.prediction_N
    shared_N = np.isfinite(list(predictions.values())).all(axis=0)
    if np.count_nonzero(shared_N) < MIN_GALAXIES:
        return []
    truth_N = comparison.truth_N[shared_N]
    return [
        Panel(title=title, truth_N=truth_N, prediction_N=oh_N[shared_N], metrics=measure(truth_N, oh_N[shared_N]))
        for title, oh_N in predictions.items()
    ]
