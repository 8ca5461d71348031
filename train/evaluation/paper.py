"""The published numbers, as data: what a run of ours is set beside.

Sources: Wu & Boada (2019, MNRAS 484, 4683), its public draft, and the authors' notebooks (jwuphysics/galaxy-cnns at
4e0eb7b; ``nbNN`` is ``notebook/NN…``, ``paper/NN`` is ``notebook/paper/NN…``). All on their test set of 20 466 SDSS
galaxies at 128 pixels unless it is said otherwise; dex.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Published:
    """One line of the paper. ``ours`` names the predictor of an evaluation that is its counterpart."""

    title: str
    ours: str
    source: str
    rmse: float | None = None
    nmad: float | None = None
    bias: float | None = None


ENSEMBLE = "ensemble"
"""The name of the evaluated prediction itself among its rivals."""
PUBLISHED = (
    Published(title="super-convergent", ours=ENSEMBLE, source="nb04, draft", rmse=0.0828),
    Published(title="five-fold average", ours=ENSEMBLE, source="nb07, draft", rmse=0.0835),
    Published(title="single network", ours=ENSEMBLE, source="nb10, paper/02", rmse=0.0851, nmad=0.0668, bias=-0.0060),
    Published(title="random forest (V16)", ours="forest_v16", source="paper/04", rmse=0.1296, nmad=0.1059),
    Published(title="random forest, 10 trees", ours="forest_default", source="paper/04", rmse=0.1380, nmad=0.1162),
    Published(title="r band alone", ours="r_band", source="nb08", rmse=0.1586, bias=-0.07),
    Published(title="colour network, grey images", ours="grey", source="nb08", rmse=0.220),
    Published(title="the median for every galaxy", ours="median", source="nb11", rmse=0.202),
    Published(title="stellar mass alone", ours="mass", source="paper/05", rmse=0.2229, nmad=0.1985),
    Published(title="predicted mass–metallicity scatter", ours="mzr", source="paper/05", rmse=0.0997, nmad=0.0802),
    Published(title="forest and r band, 1/MSE added", ours="information", source="draft, section 4.1", rmse=0.103),
)
RESOLUTION_RMSE = {
    128: 0.0851, 64: 0.0893, 32: 0.0927, 16: 0.1053, 8: 0.1125, 4: 0.1290, 2: 0.1587, 1: 0.1609
}  # fmt: skip
"""RMSE of a network trained on images of so many pixels a side (draft, section 4.2)."""
HIGH_TRUTH, HIGH_PREDICTION = 0.126, 0.057
"""Fractions above 12+log(O/H) = 9.1."""
HEADER = ("", "paper RMSE", "NMAD", "bias", "RMSE here", "95 %", "NMAD", "bias", "source")


def rows_beside_paper(numbers: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return one row of text for each published line, beside one comparison's numbers (as evaluation.json has them).

    The columns are HEADER's; a dash stands for what the paper does not give, or the evaluation does not have."""
    ours = _counterparts(numbers)
    rows: list[tuple[str, ...]] = []
    for line in PUBLISHED:
        found = ours.get(line.ours, {})
        rows.append(
            (
                line.title,
                _dex(line.rmse),
                _dex(line.nmad),
                _dex(line.bias, sign=True),
                _dex(found.get("rmse")),
                _interval(found.get("rmse_interval")),
                _dex(found.get("nmad")),
                _dex(found.get("bias"), sign=True),
                line.source,
            )
        )
    return rows


def resolution_beside_paper(numbers: Mapping[str, Any], *, size_pix: int | None = None) -> str:
    """Return one line: the paper's RMSE for each size of image, and that of these images where their size is known."""
    study = ", ".join(f"{size} px {value:.4f}" for size, value in RESOLUTION_RMSE.items())
    here = f"{size_pix} px {numbers['rmse']:.4f}" if size_pix else "not known"
    return f"RMSE by size of image: here {here} (paper: {study})"


def shrinkage_beside_paper(numbers: Mapping[str, Any]) -> str:
    """Return one line: the fractions above 9.1 in truth and prediction, the paper's and these."""
    shrinkage = numbers["shrinkage"]
    return (
        f"above 9.1: {100 * shrinkage['high_truth']:.1f} % of the truths, "
        f"{100 * shrinkage['high_prediction']:.1f} % of the predictions "
        f"(paper: {100 * HIGH_TRUTH:.1f} %, {100 * HIGH_PREDICTION:.1f} %)"
    )


def _counterparts(numbers: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return our numbers by the name of the predictor they belong to."""
    found: dict[str, Mapping[str, Any]] = {ENSEMBLE: numbers, "median": {"rmse": numbers.get("rmse_of_median")}}
    rivals: Sequence[Mapping[str, Any]] = numbers.get("rivals", ())
    found |= {rival["name"]: rival for rival in rivals}
    if numbers.get("mass_metallicity"):
        found["mzr"] = numbers["mass_metallicity"]["prediction"]
    if numbers.get("information"):
        information = numbers["information"]
        found["information"] = {
            "rmse": information["combined_rmse"],
            "rmse_interval": information["combined_rmse_interval"],
        }
    return found


def _dex(value: float | None, *, sign: bool = False) -> str:
    if value is None:
        return "–"
    return f"{value:+.4f}" if sign else f"{value:.4f}"


def _interval(limits: Sequence[float] | None) -> str:
    return f"[{limits[0]:.4f}, {limits[1]:.4f}]" if limits else "–"
