"""The figures that an evaluation is judged by: prediction against truth, alone and beside its rivals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from skymetal.catalogs.measures import OUTLIER_DEX
from skymetal.train.evaluation.drawing import (
    LINE,
    OH_LABEL,
    caption_lines,
    draw_caption,
    draw_galaxies,
    draw_running_median,
    draw_scale,
    limits_of,
    shared_norm,
    ticks_inside,
    to_png,
)
from skymetal.train.evaluation.metrics import Metrics, Values, evaluate


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One predictor in a figure that shows several."""

    title: str
    truth_N: Values
    prediction_N: Values
    metrics: Metrics


def draw_evaluation(
    truth: NDArray[np.floating],
    prediction: NDArray[np.floating],
    *,
    label: str = OH_LABEL,
    title: str = "",
    metrics: Metrics | None = None,
) -> bytes:
    """Return a PNG: prediction against truth with the 1:1 line and the measures, and residuals below.

    The same arrays give the same bytes. The range drawn leaves out the outermost 0.05 % on each side of truth
    and prediction together; the measures, which are taken anew where they are not given, leave out nothing.
    """
    metrics = metrics or evaluate(truth, prediction)
    truth_N, prediction_N = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    limits = limits_of(truth_N, prediction_N)

    figure = Figure(figsize=(5.2, 7.0), dpi=160, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.75, 1])
    if mesh := draw_galaxies(upper, truth_N, prediction_N, limits, limits):
        draw_scale(upper, mesh)
    upper.plot(limits, limits, color=LINE, linewidth=1.2)
    upper.set(xlim=limits, ylim=limits, ylabel=f"predicted {label}")
    upper.set_title(title, fontsize=10.5, wrap=True)
    draw_caption(upper, caption_lines(metrics))

    difference_N = prediction_N - truth_N
    reach = max(1.5 * OUTLIER_DEX, 1.05 * float(np.quantile(np.abs(difference_N), 0.999)))
    draw_galaxies(lower, truth_N, difference_N, limits, (-reach, reach))
    lower.axhline(0, color=LINE, linewidth=1.2)
    for edge in (-OUTLIER_DEX, OUTLIER_DEX):
        lower.axhline(edge, color="0.35", linewidth=0.8, linestyle=(0, (4, 3)))
    # Where it leaves 0, predictions shrink to the mean.
    if draw_running_median(lower, truth_N, difference_N):
        lower.legend(loc="upper right", fontsize=7.5, frameon=False)
    lower.set(xlim=limits, ylim=(-reach, reach), xlabel=f"true {label}", ylabel="predicted \N{MINUS SIGN} true (dex)")
    ticks_inside(upper, lower)
    return to_png(figure)


def draw_panels(panels: Sequence[Panel], *, label: str = OH_LABEL) -> bytes:
    """Return a PNG of predictors side by side on the same axes, as in Figure 1 of Wu & Boada (2019).

    One scale of colours holds for all panels. The same panels give the same bytes.
    """
    pairs = [(panel.truth_N, panel.prediction_N) for panel in panels]
    limits = limits_of(*(values for pair in pairs for values in pair))
    norm = shared_norm(pairs, limits, limits)
    figure = Figure(figsize=(3.7 * len(panels) + 0.3, 4.25), dpi=160, layout="constrained")
    row = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for axes, panel in zip(row, panels, strict=True):
        mesh = draw_galaxies(axes, panel.truth_N, panel.prediction_N, limits, limits, norm)
        if mesh and axes is row[0]:
            draw_scale(axes, mesh)
        axes.plot(limits, limits, color=LINE, linewidth=1.2, label="equal")
        draw_running_median(axes, panel.truth_N, panel.prediction_N)
        axes.set(xlim=limits, ylim=limits, xlabel=f"true {label}", aspect="equal")
        axes.set_title(panel.title, fontsize=11)
        lines = caption_lines(panel.metrics)
        draw_caption(axes, [lines[0], lines[1], lines[3], lines[4]], fontsize=8)
    row[0].set_ylabel(f"predicted {label}")
    row[-1].legend(loc="upper left", fontsize=8, frameon=False)
    ticks_inside(*row)
    return to_png(figure)
