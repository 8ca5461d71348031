"""The figure that an evaluation is judged by: prediction against truth, and what is left between them."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from skymetal.train.metrics import OUTLIER_DEX, Metrics, evaluate

MANY_GALAXIES = 2000
"""From here on single points hide each other, and density says more."""
_COLOURS = "viridis"
_LINE = "#c1121f"
_POINT = "#1d3557"


def draw_evaluation(
    truth: NDArray[np.floating], prediction: NDArray[np.floating], *, label: str = "12 + log(O/H)", title: str = ""
) -> bytes:
    """Return a PNG: prediction against truth with the 1:1 line and the measures, and residuals below.

    The same arrays give the same bytes. The range drawn leaves out the outermost 0.05 % on each side of truth
    and prediction together; the measures leave out nothing.
    """
    metrics = evaluate(truth, prediction)
    truth_N, prediction_N = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    low, high = np.quantile(np.concatenate([truth_N, prediction_N]), [0.0005, 0.9995])
    margin = max(0.04 * (high - low), 0.01)
    limits = (float(low - margin), float(high + margin))

    figure = Figure(figsize=(5.2, 7.0), dpi=160, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.75, 1])
    _draw_galaxies(upper, truth_N, prediction_N, limits, limits)
    upper.plot(limits, limits, color=_LINE, linewidth=1.2)
    upper.set(xlim=limits, ylim=limits, ylabel=f"predicted {label}", title=title)
    upper.text(
        0.965, 0.035, _caption(metrics), transform=upper.transAxes, ha="right", va="bottom", fontsize=9,
        linespacing=1.5, bbox={"facecolor": "white", "edgecolor": "0.8", "alpha": 0.9, "boxstyle": "round,pad=0.5"},
    )  # fmt: skip

    reach = max(1.5 * OUTLIER_DEX, 1.05 * float(np.quantile(np.abs(prediction_N - truth_N), 0.999)))
    _draw_galaxies(lower, truth_N, prediction_N - truth_N, limits, (-reach, reach))
    lower.axhline(0, color=_LINE, linewidth=1.2)
    for edge in (-OUTLIER_DEX, OUTLIER_DEX):
        lower.axhline(edge, color="0.35", linewidth=0.8, linestyle=(0, (4, 3)))
    _draw_running_median(lower, truth_N, prediction_N - truth_N)
    lower.set(xlim=limits, ylim=(-reach, reach), xlabel=f"true {label}", ylabel="predicted \N{MINUS SIGN} true (dex)")
    for axes in (upper, lower):
        axes.tick_params(direction="in", top=True, right=True)

    buffer = io.BytesIO()
    # matplotlib would note its version: two installations with the same pixels should give the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_galaxies(
    axes: Axes,
    x_N: NDArray[np.float64],
    y_N: NDArray[np.float64],
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
) -> None:
    if len(x_N) < MANY_GALAXIES:
        axes.plot(x_N, y_N, "o", color=_POINT, markersize=3.2, alpha=0.55, markeredgewidth=0)
        return
    num_x = 90
    num_y = num_x if x_limits == y_limits else num_x // 3
    count, x_edges, y_edges = np.histogram2d(x_N, y_N, bins=(num_x, num_y), range=(x_limits, y_limits))
    shown = np.ma.masked_less(count.T, 1)
    axes.pcolormesh(x_edges, y_edges, shown, cmap=_COLOURS, norm=LogNorm(1, max(2, count.max())), rasterized=True)


def _draw_running_median(axes: Axes, truth_N: NDArray[np.float64], difference_N: NDArray[np.float64]) -> None:
    """Draw the median residual along truth, in equal groups: where it leaves 0, predictions shrink to the mean."""
    num_groups = min(16, len(truth_N) // 20)
    if num_groups < 3:
        return
    groups = np.array_split(np.argsort(truth_N, kind="stable"), num_groups)
    centre = [float(np.median(truth_N[rows])) for rows in groups]
    middle = [float(np.median(difference_N[rows])) for rows in groups]
    axes.plot(centre, middle, color="white", linewidth=3.2)
    axes.plot(centre, middle, color="black", linewidth=1.5, marker="o", markersize=3, label="running median")
    axes.legend(loc="upper right", fontsize=7.5, frameon=False)


def _caption(metrics: Metrics) -> str:
    low, high = metrics.rmse_interval
    bias = f"{metrics.bias:+.4f}".replace("-", "\N{MINUS SIGN}")
    return "\n".join(
        [
            f"{metrics.num_galaxies:,} galaxies",
            f"RMSE  {metrics.rmse:.4f} dex",
            f"95 %:  {low:.4f} \N{EN DASH} {high:.4f}",
            f"NMAD  {metrics.nmad:.4f} dex",
            f"median bias  {bias} dex",
            f"|Δ| > {OUTLIER_DEX} dex  {100 * metrics.outlier_fraction:.2f} %",
            f"R²  {metrics.r2:.3f}",
        ]
    )
