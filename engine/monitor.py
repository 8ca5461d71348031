"""While a pass runs: is it right where the truth is known, and are the galaxies like those the ensemble learnt from?

Each part is summed up in counts that add, so that a number for a million galaxies costs no more than one for a shard.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skymetal.catalogs.measures import NMAD_SCALE, OUTLIER_DEX
from skymetal.catalogs.schema import PERCENTILES
from skymetal.engine.reference import NUM_STEPS, OH, OOD, Reference

NUM_BINS = 50
NUM_TENTHS = 10
_STEP = NUM_STEPS // NUM_BINS
ERROR_EDGES = np.linspace(-4.0, 4.0, 1601)
SHIFTED_PSI = 0.25
"""A population stability index above this is a shift by the usual reading; below 0.1 there is none."""
MIN_KNOWN = 100
"""Before so many galaxies of known metallicity are scored, no run is stopped for its errors."""


@dataclass(frozen=True)
class PartSummary:
    """Counts of one part, or of many: they add.

    counts is, for each measured column, (NUM_BINS + 2,) galaxies a bin of the reference's quantiles; errors is
    (1602,) galaxies a bin of predicted − true, dex; sums are of the galaxies whose truth is known: how many, the sum of
    squared errors, how many outliers, how many inside the 68 % and the 95 % interval.
    """

    num_rows: int
    counts: Mapping[str, NDArray[np.int64]]
    errors: NDArray[np.int64]
    sums: NDArray[np.float64]

    def __add__(self, other: PartSummary) -> PartSummary:
        counts = {name: self.counts[name] + other.counts[name] for name in self.counts}
        return PartSummary(self.num_rows + other.num_rows, counts, self.errors + other.errors, self.sums + other.sums)


def summarise_part(
    rows: pa.Table,
    truth_N: NDArray[np.floating],
    reference: Reference,
    appearance_NC: NDArray[np.float32],
) -> PartSummary:
    """Sum up the rows of a part. truth_N is NaN where not known; appearance_NC as measure_appearance returns it."""
    columns = {name: rows[name].to_numpy() for name in (OH, OOD)}
    columns |= dict(zip(reference.appearance_names, appearance_NC.T, strict=True))
    counts = {}
    for name, quantiles in reference.quantiles.items():
        counts[name] = _count(columns[name], quantiles)
    known_N = np.isfinite(truth_N)
    truth = truth_N[known_N].astype(np.float64)
    low95, low68, oh, high68, high95 = (rows[name].to_numpy()[known_N].astype(np.float64) for name in PERCENTILES)
    error = oh - truth
    sums = [
        len(truth),
        (error**2).sum(),
        np.count_nonzero(np.abs(error) > OUTLIER_DEX),
        np.count_nonzero((low68 <= truth) & (truth <= high68)),
        np.count_nonzero((low95 <= truth) & (truth <= high95)),
    ]
    errors = np.bincount(np.searchsorted(ERROR_EDGES, error), minlength=len(ERROR_EDGES) + 1)
    return PartSummary(rows.num_rows, counts, errors, np.array(sums, np.float64))


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """How right the pass is where the truth is known. bias is the median; it and the NMAD are good to 0.005 dex."""

    num_known: int
    rmse: float
    bias: float
    nmad: float
    outlier_fraction: float
    coverage_68: float
    coverage_95: float


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How far a column's distribution is from the reference's: Kolmogorov and Smirnov's distance, and the PSI.

    A PSI above psi_limit is a shift; the limit allows for what few galaxies differ by chance.
    """

    name: str
    ks: float
    psi: float
    psi_limit: float


def measure_accuracy(summary: PartSummary) -> Accuracy | None:
    """Return the errors so far, or None where no truth is known."""
    num_known, squares, outliers, inside_68, inside_95 = summary.sums
    if not num_known:
        return None
    median = _median(summary.errors, ERROR_EDGES)
    centres = np.concatenate([[ERROR_EDGES[0]], (ERROR_EDGES[1:] + ERROR_EDGES[:-1]) / 2, [ERROR_EDGES[-1]]])
    order = np.argsort(np.abs(centres - median), kind="stable")
    half = np.searchsorted(np.cumsum(summary.errors[order]), num_known / 2)
    return Accuracy(
        num_known=int(num_known),
        rmse=math.sqrt(squares / num_known),
        bias=median,
        nmad=NMAD_SCALE * float(np.abs(centres - median)[order][half]),
        outlier_fraction=outliers / num_known,
        coverage_68=inside_68 / num_known,
        coverage_95=inside_95 / num_known,
    )


def measure_drift(summary: PartSummary, reference: Reference) -> tuple[Drift, ...]:
    """Return the drift of every column, the prediction's first."""
    by_chance = (NUM_TENTHS - 1) * (1 / max(summary.num_rows, 1) + 1 / max(reference.num_galaxies, 1))
    limit = SHIFTED_PSI + 2 * by_chance
    return tuple(_drift(name, counts, reference.quantiles[name], limit) for name, counts in summary.counts.items())


def reason_to_stop(summary: PartSummary, reference: Reference, *, stop_rmse_ratio: float) -> str:
    """Return why the pass should not go on, or "": its errors are far larger than the ensemble's own.

    stop_rmse_ratio is how many times larger they may be; 0 is never a reason.
    """
    accuracy = measure_accuracy(summary)
    if not stop_rmse_ratio or accuracy is None or accuracy.num_known < MIN_KNOWN:
        return ""
    if accuracy.rmse <= stop_rmse_ratio * reference.rmse:
        return ""
    return (
        f"the RMSE on {accuracy.num_known} galaxies of known metallicity is {accuracy.rmse:.3f} dex, but the "
        f"ensemble's own is {reference.rmse:.3f}: these images are not what it learnt from, or the labels are of "
        "other galaxies; "
        f"mend [images] or [targets], or set [score] stop_rmse_ratio (now {stop_rmse_ratio:g}) to 0 to go on"
    )


def describe_progress(summary: PartSummary, reference: Reference) -> str:
    """Return the line beside a progress bar."""
    words = []
    accuracy = measure_accuracy(summary)
    if accuracy is not None:
        words.append(f"RMSE {accuracy.rmse:.3f}, bias {accuracy.bias:+.3f} of {accuracy.num_known} known")
    words += [
        f"{drift.name} has shifted (PSI {drift.psi:.2f})"
        for drift in measure_drift(summary, reference)
        if is_shift(drift)
    ]
    return "; ".join(words)


def is_shift(drift: Drift) -> bool:
    """Tell whether a column's distribution is not the reference's any more."""
    return drift.psi > drift.psi_limit


def to_json(summary: PartSummary, reference: Reference) -> dict[str, Any]:
    """Return accuracy and drift as plain values."""
    accuracy = measure_accuracy(summary)
    return {
        "num_rows": summary.num_rows,
        "accuracy": None if accuracy is None else vars(accuracy),
        "drift": [vars(drift) for drift in measure_drift(summary, reference)],
    }


def _count(values_N: NDArray[Any], quantiles: Sequence[float]) -> NDArray[np.int64]:
    """Return how many values lie in each bin of the quantiles; the first and the last are beyond the extremes."""
    place_N = np.searchsorted(np.asarray(quantiles[::_STEP]), values_N, side="left")
    return np.bincount(place_N, minlength=NUM_BINS + 2)


def _drift(name: str, counts: NDArray[np.int64], quantiles: Sequence[float], limit: float) -> Drift:
    """The reference is counted as the part is: where many of its values are equal, its bins hold unequal shares."""
    total = counts.sum()
    if not total:
        return Drift(name=name, ks=0.0, psi=0.0, psi_limit=limit)
    share, expected = counts / total, _count(np.asarray(quantiles), quantiles) / len(quantiles)
    ks = float(np.abs(np.cumsum(share) - np.cumsum(expected)).max())
    floor = 0.5 / total
    tenth_share, tenth_expected = (np.maximum(_in_tenths(each), floor) for each in (share, expected))
    psi = float(((tenth_share - tenth_expected) * np.log(tenth_share / tenth_expected)).sum())
    return Drift(name=name, ks=ks, psi=psi, psi_limit=limit)


def _in_tenths(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the shares of tenths of the reference; what lies beyond its extremes belongs to the outermost."""
    inside = share[1:-1].copy()
    inside[0] += share[0]
    inside[-1] += share[-1]
    return np.asarray(inside.reshape(NUM_TENTHS, -1).sum(axis=1))


def _median(counts: NDArray[np.int64], edges: NDArray[np.float64]) -> float:
    place = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
    low, high = edges[max(place - 1, 0)], edges[min(place, len(edges) - 1)]
    return float((low + high) / 2)
