"""Numbers in, shapes out: what is drawn is read back from the path."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray

from skymetal.deploy.report.markup import Markup
from skymetal.deploy.report.svg.frame import Axis, Frame
from skymetal.deploy.report.svg.marks import (
    MANY_POINTS,
    band,
    cloud,
    density,
    error_bars,
    line,
    points,
    running_median,
    steps,
)
from skymetal.deploy.report.svg.shades import OPACITY, levels_of

FRAME = Frame(
    x=Axis(low=0, high=10, label="x"), y=Axis(low=0, high=100, label="y"), width=156.0, height=268.0
)  # 100 × 200 inside


def path_of(mark: Markup) -> str:
    return ElementTree.fromstring(mark).get("d", "")


def numbers(path: str) -> list[float]:
    return [float(text) for text in re.findall(r"-?[\d.]+", path)]


def test_a_line_passes_through_its_points_and_is_broken_where_there_is_none() -> None:
    x, y = np.array([0.0, 1.0, 2.0, 3.0, 10.0]), np.array([0.0, 50.0, np.nan, 100.0, 0.0])
    mark = line(FRAME, x, y, kind="ink")
    assert path_of(mark) == "M0 200L10 100M30 0L100 200"
    assert 'class="line ink"' in mark


def test_a_band_goes_out_along_one_line_and_back_along_the_other() -> None:
    x = np.array([0.0, 10.0])
    assert path_of(band(FRAME, x, np.array([0.0, 0.0]), np.array([50.0, 100.0]), kind="second")) == (
        "M0 200L100 200L100 0L0 100z"
    )


def test_a_histogram_is_as_high_as_its_bins() -> None:
    edges, heights = np.array([0.0, 5.0, 10.0]), np.array([50.0, 100.0])
    assert path_of(steps(FRAME, edges, heights, kind="accent", is_filled=True)) == "M0 200V100H50V0H100V200z"
    assert path_of(steps(FRAME, edges, heights, kind="second", is_filled=False)) == "M0 200V100H50V0H100V200"


def test_each_point_is_a_dot_and_what_is_no_number_is_none() -> None:
    assert path_of(points(FRAME, np.array([1.0, np.nan, 2.0]), np.array([50.0, 1.0, 0.0]), kind="accent")) == (
        "M10 100h0M20 200h0"
    )


def test_error_bars_reach_one_error_up_and_down() -> None:
    bars, dots = ElementTree.fromstring(
        f"<g>{error_bars(FRAME, np.array([5.0]), np.array([50.0]), np.array([10.0]), kind='accent')}</g>"
    )
    assert (bars.get("d"), dots.get("d")) == ("M50 120V80", "M50 100h0")


def test_few_galaxies_are_points_and_many_a_density() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 10, MANY_POINTS), rng.uniform(0, 100, MANY_POINTS)
    few, legend = cloud(FRAME, x[1:], y[1:])
    assert few.count("h0") == MANY_POINTS - 1
    assert legend is None
    many, legend = cloud(FRAME, x, y)
    assert 'class="density"' in many
    assert legend is not None


def test_every_cell_with_galaxies_is_drawn_once_in_its_shade() -> None:
    counts = np.random.default_rng(1).poisson(0.7, (20, 10)) ** 3
    root = ElementTree.fromstring(f"<g>{density(FRAME, counts)}</g>")
    drawn = np.full(counts.shape, -1)
    for path in root:
        level = OPACITY.index(float(path.get("fill-opacity", "nan")))
        for x, y, width, height, back in zip(*[iter(numbers(path.get("d", "")))] * 5, strict=True):
            assert (back, height) == (-width, 10)
            row = counts.shape[0] - 1 - round(y / 10)
            cells = drawn[row, round(x / 10) : round((x + width) / 10)]
            assert (cells == -1).all()
            cells[:] = level
    assert (drawn == levels_of(counts)).all()


@pytest.mark.parametrize(("num_galaxies", "is_drawn"), [(50, False), (79, False), (80, True), (1000, True)])
def test_a_running_median_needs_two_bins(num_galaxies: int, is_drawn: bool) -> None:
    x: NDArray[np.float64] = np.linspace(0, 10, num_galaxies)
    found = running_median(FRAME, x, 10 * x)
    assert len(found) == 2 * is_drawn
    if is_drawn:
        places = np.array(numbers(path_of(found[1]))).reshape(-1, 2)
        assert np.allclose(places[:, 1], 200 - 2 * places[:, 0], atol=0.05)


def test_a_median_is_of_galaxies_that_have_both_values() -> None:
    x = np.linspace(0, 10, 200)
    y = np.where(np.arange(200) % 2, np.nan, 50.0)
    places = np.array(numbers(path_of(running_median(FRAME, x, y)[1]))).reshape(-1, 2)
    assert (places[:, 1] == 100).all()
