"""evaluate: predictions against what was measured, in the field's own numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skymetal.catalogs.errors import InputError
from skymetal.train.evaluation.diagnostics import (
    Bin,
    Coverage,
    Shrinkage,
    bin_errors,
    measure_coverage,
    measure_shrinkage,
)
from skymetal.train.evaluation.mass import MassMetallicity, measure_mass_metallicity
from skymetal.train.evaluation.metrics import Metrics, Values, evaluate
from skymetal.train.evaluation.photometry import MASS, possible
from skymetal.train.evaluation.rivals import MIN_GALAXIES, Duel, Information, Rival, add_information, judge

TRUTH = "oh_true"
"""The column in which a simulated survey keeps what no real survey knows."""
INTERVALS = ("oh_p2p5", "oh_p16", "oh_p84", "oh_p97p5")
BINNED_BY = ("modelMag_r", "redshift", "petroR90_r")
"""What coverage may depend on, where the target list has it: magnitude, redshift, and size in arcsec."""
R_BAND, FOREST = "r_band", "forest_v16"


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """The job file's ``[evaluate]``: what is judged beside the ensemble, besides what costs nothing.

    r_band_run is the run directory of an ensemble that was trained on the r band alone, for the paper's Figure 1;
    grey_control lets this run's ensemble predict from its own images without their colour, which takes as long as
    scoring the galaxies with a truth.
    """

    r_band_run: str = field(default="", metadata={"path": True})
    grey_control: bool = False


@dataclass(frozen=True, kw_only=True)
class ComparisonKind:
    """Which galaxies of a catalogue are judged together, and the column of the target list that they are judged by."""

    name: str
    title: str
    is_out_of_fold: bool
    truth: str


def comparison_kinds(label: str) -> tuple[ComparisonKind, ...]:
    """Return every kind that a run may have, the one to look at first before the others."""
    out_of_fold, new = f"out of fold, against measured {label}", f"never trained on, against measured {label}"
    simulated = "never trained on, against the simulation's truth"
    return (
        ComparisonKind(name="out_of_fold", title=out_of_fold, is_out_of_fold=True, truth=label),
        ComparisonKind(name="new", title=new, is_out_of_fold=False, truth=label),
        ComparisonKind(name="new_simulated", title=simulated, is_out_of_fold=False, truth=TRUTH),
    )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Predictions beside the truth, 12+log(O/H), for the galaxies that have both."""

    name: str
    title: str
    truth_N: Values
    prediction_N: Values
    metrics: Metrics
    rows: pa.Table = field(default_factory=lambda: pa.table({}))

    @property
    def rmse_of_mean(self) -> float:
        """The RMSE, dex, of a predictor that knows no image: it says the mean of these very truths for each."""
        return float(self.truth_N.std())

    @property
    def rmse_of_median(self) -> float:
        """The same of one that says their median."""
        return float(np.sqrt(np.mean((self.truth_N - np.median(self.truth_N)) ** 2)))

    def values(self, name: str) -> Values | None:
        """Return (N,) of a column of the catalogue or the target list; None where neither has it."""
        return possible(self.rows[name], name) if name in self.rows.column_names else None

    def to_json(self) -> dict[str, Any]:
        """Return the numbers without the galaxies."""
        numbers = {"rmse_of_mean": self.rmse_of_mean, "rmse_of_median": self.rmse_of_median} | self.metrics.to_dict()
        return dict(finite({"name": self.name, "title": self.title} | numbers))


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Everything that an evaluation has to say of one comparison."""

    comparison: Comparison
    shrinkage: Shrinkage
    bins: list[Bin]
    coverage: list[Coverage]
    rivals: list[Duel]
    information: Information | None
    mass_metallicity: MassMetallicity | None

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as plain values: what evaluation.json holds for each comparison."""
        parts: dict[str, Any] = {"shrinkage": self.shrinkage.to_dict()}
        for name, items in (("binned", self.bins), ("coverage", self.coverage), ("rivals", self.rivals)):
            parts[name] = [item.to_dict() for item in items]
        for name, item in (("information", self.information), ("mass_metallicity", self.mass_metallicity)):
            parts[name] = item.to_dict() if item else None
        return self.comparison.to_json() | dict(finite(parts))


def finite(value: Any) -> Any:
    """Return what JSON can hold: a number that is not defined becomes null."""
    if isinstance(value, list):
        return [finite(item) for item in value]
    if isinstance(value, Mapping):
        return {name: finite(item) for name, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def compare(
    name: str, title: str, truth: pa.ChunkedArray, prediction: pa.ChunkedArray, rows: pa.Table | None = None
) -> Comparison:
    """Compare two columns; rows where either is missing or not finite are left out, of ``rows`` too.

    Raises InputError for fewer than three galaxies and for truths that are all equal.
    """
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
        rows=pa.table({}) if rows is None else rows.filter(pa.array(both)),
    )


def compare_with_truth(catalogue: pa.Table, targets: pa.Table, *, label: str) -> list[Comparison]:
    """Compare a catalogue (object_id, oh_p50, is_out_of_fold, …) with its target list, galaxy by galaxy.

    Galaxies predicted out of fold are judged by their measured label; galaxies without one by the simulation's
    truth, where there is a simulation. Empty comparisons are left out. Their rows have the catalogue's columns, and
    of the target list what coverage and the mass–metallicity relation are judged by.
    """
    known = [name for name in (label, TRUTH) if name in targets.column_names]
    others = [name for name in (*BINNED_BY, MASS) if name in targets.column_names]
    truths = targets.select(["object_id", *known, *others])
    truths = truths.rename_columns(["object_id", *(f"{name}_true" for name in known), *others])
    joined = catalogue.join(truths, keys="object_id", join_type="left outer").sort_by("object_id")
    comparisons = []
    for kind in comparison_kinds(label):
        truth = f"{kind.truth}_true"
        if kind.truth in known:
            rows = joined.filter(pc.equal(joined["is_out_of_fold"], kind.is_out_of_fold))
            rows = rows.filter(pc.is_finite(rows[truth]))
            if rows.num_rows >= MIN_GALAXIES and pc.count_distinct(rows[truth]).as_py() > 1:
                comparisons.append(compare(kind.name, kind.title, rows[truth], rows["oh_p50"], rows))
    return comparisons


def judge_comparison(comparison: Comparison, rivals: Sequence[Rival] = ()) -> Judgement:
    """Measure all that the columns at hand allow; rivals without three galaxies in common are left out."""
    truth_N, prediction_N = comparison.truth_N, comparison.prediction_N
    duels: list[Duel] = []
    predictions: dict[str, Values] = {}
    if rivals:
        object_id_N = comparison.rows["object_id"].to_numpy()
        found = (judge(rival, object_id_N=object_id_N, truth_N=truth_N, prediction_N=prediction_N) for rival in rivals)
        duels = [duel for duel in found if duel]
        predictions = {rival.name: rival.predict(object_id_N) for rival in rivals}
    has_both = {R_BAND, FOREST} <= predictions.keys()
    parts = [predictions[FOREST], predictions[R_BAND]] if has_both else []
    lgm_N = comparison.values(MASS)
    return Judgement(
        comparison=comparison,
        shrinkage=measure_shrinkage(truth_N, prediction_N),
        bins=bin_errors(truth_N, prediction_N),
        coverage=_coverage(comparison),
        rivals=duels,
        information=add_information(truth_N, parts, prediction_N) if parts else None,
        mass_metallicity=None if lgm_N is None else measure_mass_metallicity(lgm_N, truth_N, prediction_N),
    )


def _coverage(comparison: Comparison) -> list[Coverage]:
    limits = {name: comparison.values(name) for name in INTERVALS}
    known = {name: value_N for name, value_N in limits.items() if value_N is not None}
    if len(known) < len(INTERVALS):
        return []
    by = {name: comparison.values(name) for name in BINNED_BY}
    return measure_coverage(
        comparison.truth_N,
        (known["oh_p16"], known["oh_p84"]),
        (known["oh_p2p5"], known["oh_p97p5"]),
        {"prediction": comparison.prediction_N}
        | {name: value_N for name, value_N in by.items() if value_N is not None},
    )
