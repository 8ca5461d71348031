"""evaluate: predictions against what was measured, in the field's own numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError
from skymetal.train.metrics import Metrics, evaluate

MIN_GALAXIES = 3
"""Below this the numbers mean nothing, and some are not defined."""
TRUTH = "oh_true"
"""The column in which a simulated survey keeps what no real survey knows."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Predictions beside the truth, 12+log(O/H), for the galaxies that have both."""

    name: str
    title: str
    truth_N: NDArray[np.float64]
    prediction_N: NDArray[np.float64]
    metrics: Metrics

    @property
    def rmse_of_mean(self) -> float:
        """The RMSE, dex, of a predictor that knows no image: it says the mean of these very truths for each."""
        return float(self.truth_N.std())

    def to_json(self) -> dict[str, Any]:
        """Return the numbers without the galaxies."""
        numbers = {"rmse_of_mean": self.rmse_of_mean} | self.metrics.to_dict()
        return {"name": self.name, "title": self.title} | {key: _finite(value) for key, value in numbers.items()}


def _finite(value: Any) -> Any:
    """Return what JSON can hold: a number that is not defined becomes null."""
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value if math.isfinite(value) else None


def compare(name: str, title: str, truth: pa.ChunkedArray, prediction: pa.ChunkedArray) -> Comparison:
    """Compare two columns; rows where either is missing or not finite are left out."""
    truth_N, prediction_N = (np.asarray(column.cast(pa.float64()).to_numpy()) for column in (truth, prediction))
    both = np.isfinite(truth_N) & np.isfinite(prediction_N)
    if np.count_nonzero(both) < MIN_GALAXIES:
        raise InputError(
            f"{title}: only {np.count_nonzero(both)} galaxies have both values; give at least {MIN_GALAXIES}"
        )
    if np.ptp(truth_N[both]) == 0:
        raise InputError(f"{title}: all truths are equal; there is nothing to judge predictions by")
    return Comparison(
        name=name,
        title=title,
        truth_N=truth_N[both],
        prediction_N=prediction_N[both],
        metrics=evaluate(truth_N[both], prediction_N[both]),
    )


def compare_with_truth(catalogue: pa.Table, targets: pa.Table, *, label: str) -> list[Comparison]:
    """Compare a catalogue (object_id, oh_p50, is_out_of_fold) with its target list, galaxy by galaxy.

    Galaxies predicted out of fold are judged by their measured label; galaxies without one by the simulation's
    truth, where there is a simulation. Empty comparisons are left out.
    """
    known = [name for name in (label, TRUTH) if name in targets.column_names]
    truths = targets.select(["object_id", *known])
    truths = truths.rename_columns(["object_id", *(f"{name}_true" for name in known)])
    joined = catalogue.join(truths, keys="object_id", join_type="left outer").sort_by("object_id")
    comparisons = []
    for name, is_out_of_fold, truth, title in (
        ("out_of_fold", True, label, f"out of fold, against measured {label}"),
        ("new", False, label, f"never trained on, against measured {label}"),
        ("new_simulated", False, TRUTH, "never trained on, against the simulation's truth"),
    ):
        if truth in known:
            rows = joined.filter(pc.equal(joined["is_out_of_fold"], is_out_of_fold))
            rows = rows.filter(pc.is_finite(rows[f"{truth}_true"]))
            if rows.num_rows >= MIN_GALAXIES and pc.count_distinct(rows[f"{truth}_true"]).as_py() > 1:
                comparisons.append(compare(name, title, rows[f"{truth}_true"], rows["oh_p50"]))
    return comparisons


def format_comparisons(comparisons: list[Comparison]) -> str:
    """Return one paragraph a comparison: the numbers, their 95 % intervals, and the mean predictor beside them."""
    lines = []
    for comparison in comparisons:
        m = comparison.metrics
        lines += [
            f"{comparison.title}: {m.num_galaxies} galaxies",
            f"  RMSE      {m.rmse:.4f} dex  [{m.rmse_interval[0]:.4f}, {m.rmse_interval[1]:.4f}]"
            f"   the mean for every galaxy: {comparison.rmse_of_mean:.4f}",
            f"  NMAD      {m.nmad:.4f} dex  [{m.nmad_interval[0]:.4f}, {m.nmad_interval[1]:.4f}]",
            f"  bias     {m.bias:+.4f} dex  [{m.bias_interval[0]:+.4f}, {m.bias_interval[1]:+.4f}]   median",
            f"  outliers  {100 * m.outlier_fraction:.2f} %       |Δ| > 0.2 dex",
            f"  R²        {m.r2:.3f}       [{m.r2_interval[0]:.3f}, {m.r2_interval[1]:.3f}]",
        ]
    return "\n".join(lines)
