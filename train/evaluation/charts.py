"""The figures behind the first one: errors in bins, coverage of the intervals, the mass–metallicity relation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from skymetal.catalogs.selection.simulated import mass_metallicity
from skymetal.train.evaluation.diagnostics import Bin, Coverage
from skymetal.train.evaluation.drawing import (
    LINE,
    OH_LABEL,
    POINT,
    SECOND,
    draw_caption,
    draw_galaxies,
    draw_running_median,
    limits_of,
    shared_norm,
    signed,
    ticks_inside,
    to_png,
)
from skymetal.train.evaluation.mass import MassMetallicity, in_range
from skymetal.train.evaluation.metrics import Metrics, Values

AXIS_LABELS = {
    "truth": f"true {OH_LABEL}",
    "prediction": f"predicted {OH_LABEL}",
    "modelMag_r": "model magnitude, r (mag)",
    "redshift": "redshift",
    "petroR90_r": "Petrosian radius R90, r (arcsec)",
}
_ERROR_BAR = {"fmt": "o", "markersize": 4.5, "linewidth": 1.3, "capsize": 2.5}


def draw_bins(bins: Sequence[Bin]) -> bytes:
    """Return a PNG of RMSE and median bias, with their 95 % intervals, in bins of truth and in bins of prediction.

    The bars along x end at the extremes of each bin.
    """
    groups = {name: [item for item in bins if item.by == name] for name in ("truth", "prediction")}
    figure = Figure(figsize=(8.4, 5.6), dpi=160, layout="constrained")
    grid = figure.subplots(2, 2, sharex="col", sharey="row")
    for column, (name, group) in enumerate(groups.items()):
        centre = np.array([item.centre for item in group])
        width = np.abs(np.array([(item.low, item.high) for item in group]).T - centre)
        for row, measure in enumerate(("rmse", "bias")):
            axes = grid[row, column]
            value = np.array([getattr(item.metrics, measure) for item in group])
            limits = np.array([getattr(item.metrics, f"{measure}_interval") for item in group]).T
            axes.errorbar(
                centre, value, yerr=np.abs(limits - value), xerr=width, color=POINT, ecolor="0.55", **_ERROR_BAR
            )
        grid[1, column].axhline(0, color=LINE, linewidth=1.2)
        grid[1, column].set_xlabel(AXIS_LABELS[name])
    figure.suptitle("bins of equal count; bars: the bin, and the 95 % interval of the value", fontsize=10)
    grid[0, 0].set(ylabel="RMSE (dex)", ylim=(0, None))
    grid[1, 0].set(ylabel="median predicted \N{MINUS SIGN} true (dex)")
    ticks_inside(*grid.flat)
    return to_png(figure)


def draw_coverage(coverage: Sequence[Coverage]) -> bytes:
    """Return a PNG of the fraction of truths inside the 68 % and 95 % intervals, one panel for each quantity.

    The bars are one standard error of a fraction that is as it should be: two thirds of the points belong within
    them of the line.
    """
    names = [name for name in dict.fromkeys(item.by for item in coverage) if name != "all"]
    whole = next(item for item in coverage if item.by == "all")
    figure = Figure(figsize=(3.0 * len(names) + 1.0, 3.9), dpi=160, layout="constrained")
    row = figure.subplots(1, len(names), sharey=True, squeeze=False, gridspec_kw={"wspace": 0.06})[0]
    lowest = min(item.coverage_68 for item in coverage)
    for axes, name in zip(row, names, strict=True):
        group = [item for item in coverage if item.by == name]
        for level, colour in ((0.68, POINT), (0.95, SECOND)):
            error = [np.sqrt(level * (1 - level) / item.num_galaxies) for item in group]
            value = [getattr(item, f"coverage_{round(100 * level)}") for item in group]
            axes.axhline(level, color=colour, linewidth=1, linestyle=(0, (4, 3)))
            axes.errorbar([item.centre for item in group], value, yerr=error, color=colour, **_ERROR_BAR)
        axes.xaxis.set_major_locator(MaxNLocator(5, prune="both"))
        axes.set(xlabel=AXIS_LABELS[name], ylim=(min(0.5, lowest - 0.08), 1.02))
    row[0].set_ylabel("fraction of truths in the interval")
    figure.suptitle(
        f"all {whole.num_galaxies:,} galaxies: {100 * whole.coverage_68:.1f} % in the 68 % interval (blue), "
        f"{100 * whole.coverage_95:.1f} % in the 95 % interval (orange)" if len(names) > 1 else
        f"{100 * whole.coverage_68:.1f} % in 68 %, {100 * whole.coverage_95:.1f} % in 95 %",
        fontsize=10.5,
    )  # fmt: skip
    ticks_inside(*row)
    return to_png(figure)


def draw_mass_metallicity(lgm_N: Values, truth_N: Values, prediction_N: Values, numbers: MassMetallicity) -> bytes:
    """Return a PNG: the mass–metallicity relation as measured and as predicted, with the curve of Tremonti+04."""
    rows = in_range(lgm_N)
    lgm, pairs = lgm_N[rows], [(lgm_N[rows], oh_N[rows]) for oh_N in (truth_N, prediction_N)]
    x_limits, y_limits = limits_of(lgm), limits_of(pairs[0][1], pairs[1][1])
    norm = shared_norm(pairs, x_limits, y_limits)
    curve = np.linspace(max(8.5, x_limits[0]), min(11.5, x_limits[1]), 200)
    figure = Figure(figsize=(8.9, 4.4), dpi=160, layout="constrained")
    row = figure.subplots(1, 2, sharex=True, sharey=True)
    mesh = None
    for axes, title, (x_N, y_N), metrics in zip(
        row, ("measured", "predicted from images"), pairs, (numbers.truth, numbers.prediction), strict=True
    ):
        mesh = draw_galaxies(axes, x_N, y_N, x_limits, y_limits, norm) or mesh
        axes.plot(curve, mass_metallicity(curve), color=LINE, linewidth=1.6, label="Tremonti et al. (2004)")
        draw_running_median(axes, x_N, y_N)
        axes.set(xlim=x_limits, ylim=y_limits, xlabel=r"log$_{10}$ stellar mass ($M_\odot$)")
        axes.set_title(title, fontsize=11)
        draw_caption(axes, _about_the_curve(metrics), fontsize=8)
    row[0].set_ylabel(OH_LABEL)
    row[0].legend(loc="upper left", fontsize=8, frameon=False)
    ticks_inside(*row)
    if mesh is not None:
        figure.colorbar(mesh, ax=list(row), label="galaxies a cell", pad=0.015, aspect=28)
    return to_png(figure)


def _about_the_curve(metrics: Metrics) -> list[str]:
    return [
        f"{metrics.num_galaxies:,} galaxies",
        f"about the curve: RMSE  {metrics.rmse:.4f} dex",
        f"NMAD  {metrics.nmad:.4f} dex",
        f"median  {signed(metrics.bias)} dex",
    ]
