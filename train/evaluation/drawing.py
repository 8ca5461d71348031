"""What all figures share: colours, how galaxies are drawn, and how a figure becomes the same bytes every time."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from skymetal.catalogs.measures import OUTLIER_DEX
from skymetal.train.evaluation.metrics import Metrics, Values

MANY_GALAXIES = 2000
"""From here on single points hide each other, and density says more."""
OH_LABEL = "12 + log(O/H)"
LINE = "#c1121f"
POINT = "#1d3557"
SECOND = "#e07a1f"
Limits = tuple[float, float]

_COLOURS = "viridis"
_NUM_CELLS = 90
_CAPTION_BOX = {"facecolor": "white", "edgecolor": "0.8", "alpha": 0.9, "boxstyle": "round,pad=0.5"}


def to_png(figure: Figure) -> bytes:
    """Return the figure as a PNG whose bytes depend on what is drawn alone."""
    buffer = io.BytesIO()
    # matplotlib would note its version: two installations with the same pixels should give the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def limits_of(*values: Values) -> Limits:
    """Return the range to draw: all but the outermost 0.05 % on each side, and a margin."""
    low, high = np.quantile(np.concatenate(values), [0.0005, 0.9995])
    margin = max(0.04 * (high - low), 0.01)
    return float(low - margin), float(high + margin)


def draw_galaxies(
    axes: Axes, x_N: Values, y_N: Values, x_limits: Limits, y_limits: Limits, norm: LogNorm | None = None
) -> QuadMesh | None:
    """Draw single points while they are few, else how many galaxies a cell holds; then return the coloured cells."""
    if len(x_N) < MANY_GALAXIES:
        axes.plot(x_N, y_N, "o", color=POINT, markersize=3.2, alpha=0.55, markeredgewidth=0)
        return None
    num_y = _NUM_CELLS if _is_square(x_limits, y_limits) else _NUM_CELLS // 3
    count, x_edges, y_edges = np.histogram2d(x_N, y_N, bins=(_NUM_CELLS, num_y), range=(x_limits, y_limits))
    shown = np.ma.masked_less(count.T, 1)
    norm = norm or LogNorm(1, max(2, count.max()))
    return axes.pcolormesh(x_edges, y_edges, shown, cmap=_COLOURS, norm=norm, rasterized=True)


def draw_scale(axes: Axes, mesh: QuadMesh) -> None:
    """Draw the scale of colours into the upper left corner."""
    inset = axes.inset_axes((0.045, 0.935, 0.32, 0.022))
    bar = axes.figure.colorbar(mesh, cax=inset, orientation="horizontal")
    bar.ax.tick_params(labelsize=7.5, length=2, pad=1.5)
    bar.set_label("galaxies a cell", fontsize=8, labelpad=1)


def shared_norm(pairs: Sequence[tuple[Values, Values]], x_limits: Limits, y_limits: Limits) -> LogNorm:
    """Return one scale of colours for several panels, so that the same colour is the same number of galaxies."""
    bins = (_NUM_CELLS, _NUM_CELLS)
    most = max(np.histogram2d(x_N, y_N, bins=bins, range=(x_limits, y_limits))[0].max() for x_N, y_N in pairs)
    return LogNorm(1, max(2, most))


def draw_running_median(axes: Axes, x_N: Values, y_N: Values) -> bool:
    """Draw the median along x in groups of equal count; return whether there were galaxies enough."""
    num_groups = min(16, len(x_N) // 40)
    if num_groups < 3:
        return False
    groups = np.array_split(np.argsort(x_N, kind="stable"), num_groups)
    centre = [float(np.median(x_N[rows])) for rows in groups]
    middle = [float(np.median(y_N[rows])) for rows in groups]
    axes.plot(centre, middle, color="white", linewidth=3.2)
    axes.plot(centre, middle, color="black", linewidth=1.5, marker="o", markersize=3, label="running median")
    return True


def draw_caption(axes: Axes, lines: Sequence[str], *, fontsize: float = 9) -> None:
    """Write lines into the lower right corner."""
    axes.text(
        0.965, 0.035, "\n".join(lines), transform=axes.transAxes, ha="right", va="bottom", fontsize=fontsize,
        linespacing=1.5, bbox=_CAPTION_BOX,
    )  # fmt: skip


def caption_lines(metrics: Metrics) -> list[str]:
    """Return what a figure says in numbers."""
    low, high = metrics.rmse_interval
    return [
        f"{metrics.num_galaxies:,} galaxies",
        f"RMSE  {metrics.rmse:.4f} dex",
        f"95 %:  {low:.4f} \N{EN DASH} {high:.4f}",
        f"NMAD  {metrics.nmad:.4f} dex",
        f"median bias  {signed(metrics.bias)} dex",
        f"|Δ| > {OUTLIER_DEX} dex  {100 * metrics.outlier_fraction:.2f} %",
        f"R²  {minus(f'{metrics.r2:.3f}')}",
    ]


def signed(value: float) -> str:
    """Return a number with its sign, as it is printed."""
    return minus(f"{value:+.4f}")


def minus(text: str) -> str:
    """Return a number's text with a minus in place of a hyphen."""
    return text.replace("-", "\N{MINUS SIGN}")


def ticks_inside(*axes: Axes) -> None:
    """Put ticks on all four sides, inwards."""
    for one in axes:
        one.tick_params(direction="in", top=True, right=True)


def _is_square(x_limits: Limits, y_limits: Limits) -> bool:
    """Tell a panel drawn as high as it is wide from the low strip of residuals, which straddles zero."""
    return x_limits == y_limits or not y_limits[0] < 0 < y_limits[1]
