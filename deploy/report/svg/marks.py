"""What stands between the axes: bars, points, density, lines, bands and error bars. ``kind`` is a class of the page."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from skymetal.deploy.report.markup import Markup, compact, element, joined
from skymetal.deploy.report.svg.frame import Frame, Values
from skymetal.deploy.report.svg.shades import density_legend, levels_of, shaded
from skymetal.train.evaluation.diagnostics import equal_bins

FEW_POINTS, MANY_POINTS = 60, 2000
"""So few points are drawn large; so many hide each other, and density says more."""
NUM_CELLS = 56


def line(frame: Frame, x_N: Values, y_N: Values, *, kind: str) -> Markup:
    """Return a line through points; it is broken where one is not finite."""
    return element("path", class_=f"line {kind}", d=_path(*frame.place(x_N, y_N)))


def band(frame: Frame, x_N: Values, low_N: Values, high_N: Values, *, kind: str) -> Markup:
    """Return the area between two lines over the same x."""
    x, low = frame.place(x_N, low_N)
    _, high = frame.place(x_N, high_N)
    outline = _path(np.append(x, x[::-1]), np.append(low, high[::-1]))
    return element("path", class_=f"band {kind}", d=f"{outline}z")


def steps(frame: Frame, edges: Values, height_B: Values, *, kind: str, is_filled: bool) -> Markup:
    """Return a histogram of B bins: its area, or its outline alone."""
    x, _ = frame.place(edges, np.zeros_like(edges))
    _, y = frame.place(np.zeros_like(height_B), height_B)
    _, base = frame.place(np.zeros(1), np.full(1, max(frame.y.low, 0.0)))
    path = f"M{compact(x[0])} {compact(base[0])}"
    path += "".join(f"V{compact(top)}H{compact(right)}" for top, right in zip(y, x[1:], strict=True))
    path += f"V{compact(base[0])}"
    return element("path", class_=f"{'area' if is_filled else 'line'} {kind}", d=path + "z" * is_filled)


def points(frame: Frame, x_N: Values, y_N: Values, *, kind: str) -> Markup:
    """Return a dot a point; the stroke's round caps are the dots, which keeps ten thousand of them small."""
    x, y = frame.place(x_N, y_N)
    known = np.isfinite(x) & np.isfinite(y)
    path = "".join(f"M{compact(a)} {compact(b)}h0" for a, b in zip(x[known], y[known], strict=True))
    size = " large" if np.count_nonzero(known) < FEW_POINTS else ""
    return element("path", class_=f"points{size} {kind}", d=path)


def error_bars(frame: Frame, x_N: Values, y_N: Values, error_N: Values, *, kind: str) -> Markup:
    """Return points with bars of one error up and down."""
    x, low = frame.place(x_N, y_N - error_N)
    _, high = frame.place(x_N, y_N + error_N)
    path = "".join(f"M{compact(a)} {compact(b)}V{compact(c)}" for a, b, c in zip(x, low, high, strict=True))
    return joined([element("path", class_=f"bars {kind}", d=path), points(frame, x_N, y_N, kind=kind)])


def level_line(frame: Frame, y: float, *, kind: str) -> Markup:
    """Return a horizontal line across the plot."""
    return line(frame, np.array([frame.x.low, frame.x.high]), np.array([y, y]), kind=kind)


def running_median(frame: Frame, x_N: Values, y_N: Values) -> list[Markup]:
    """Return the medians in bins of equal count along x, on a halo that keeps them apart from what they lie on."""
    groups = equal_bins(np.where(np.isfinite(y_N), x_N, np.nan))
    if len(groups) < 2:
        return []
    x_B, y_B = (np.array([np.median(values[rows]) for rows in groups]) for values in (x_N, y_N))
    return [line(frame, x_B, y_B, kind="halo"), line(frame, x_B, y_B, kind="second")]


def cloud(frame: Frame, x_N: Values, y_N: Values) -> tuple[Markup, Markup | None]:
    """Return points while they are few, else their density, with the legend that it needs."""
    known = np.isfinite(x_N) & np.isfinite(y_N)
    if np.count_nonzero(known) < MANY_POINTS:
        return points(frame, x_N, y_N, kind="accent"), None
    width, height = frame.inner
    bins = (NUM_CELLS, max(12, round(NUM_CELLS * height / width)))
    limits = ((frame.x.low, frame.x.high), (frame.y.low, frame.y.high))
    counts, _, _ = np.histogram2d(x_N[known], y_N[known], bins=bins, range=limits)
    return density(frame, counts.T.astype(np.int64)), density_legend(int(counts.max()))


def density(frame: Frame, counts_YX: NDArray[np.int64]) -> Markup:
    """Return the cells of a grid over the whole plot, each the darker the more galaxies it holds."""
    num_y, num_x = counts_YX.shape
    width, height = frame.inner[0] / num_x, frame.inner[1] / num_y
    levels, paths = [], []
    for row, level_X in enumerate(levels_of(counts_YX)):
        top = compact(frame.inner[1] - (row + 1) * height)
        for level, start, stop in _runs(level_X):
            run = compact((stop - start) * width)
            levels.append(level)
            paths.append(f"M{compact(start * width)} {top}h{run}v{compact(height)}h-{run}z")
    return shaded(np.array(levels), paths)


def _path(x: Values, y: Values) -> str:
    path, is_open = "", False
    for a, b in zip(x, y, strict=True):
        if np.isfinite(a) and np.isfinite(b):
            path += f"{'L' if is_open else 'M'}{compact(a)} {compact(b)}"
            is_open = True
        else:
            is_open = False
    return path


def _runs(level_X: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Return (level, start, stop) of neighbours that are alike."""
    cuts = [0, *(np.flatnonzero(np.diff(level_X)) + 1).tolist(), len(level_X)]
    return [(int(level_X[start]), start, stop) for start, stop in pairwise(cuts)]
