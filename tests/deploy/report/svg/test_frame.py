from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from skymetal.deploy.report.svg.frame import Axis, Frame, nice_ticks


@pytest.mark.parametrize(
    ("low", "high", "num_ticks", "texts"),
    [
        (0.0, 10.0, 6, ["0", "2", "4", "6", "8", "10"]),
        (8.23, 9.41, 5, ["8.25", "8.50", "8.75", "9.00", "9.25"]),
        (-0.31, 0.31, 5, ["−0.2", "0.0", "0.2"]),
        (0.0, 0.003, 5, ["0.000", "0.001", "0.002", "0.003"]),
        (0.0, 1_200_000.0, 5, ["0", "250000", "500000", "750000", "1000000"]),
        (17.0, 17.01, 6, ["17.000", "17.002", "17.004", "17.006", "17.008", "17.010"]),
    ],
)
def test_ticks_stand_on_round_numbers_with_the_digits_they_need(
    low: float, high: float, num_ticks: int, texts: list[str]
) -> None:
    assert [text for _, text in nice_ticks(low, high, num_ticks)] == texts


@pytest.mark.parametrize("seed", range(40))
def test_ticks_are_few_even_inside_and_true(seed: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.normal(0, 10 ** rng.uniform(-3, 5))
    high = low + 10 ** rng.uniform(-4, 6)
    ticks = nice_ticks(low, high, 5)
    places = np.array([place for place, _ in ticks])
    assert 1 <= len(ticks) <= 6
    slack = 1e-6 * (high - low)
    assert (places >= low - slack).all()
    assert (places <= high + slack).all()
    steps = np.diff(places)
    assert np.allclose(steps, steps[:1])
    for place, text in ticks:
        assert float(text.replace("−", "-")) == pytest.approx(place, abs=1e-9 + 1e-9 * abs(place))


def test_an_axis_leaves_out_the_outermost_and_adds_a_margin() -> None:
    values = np.append(np.linspace(0, 1, 10_001), [1e6, np.nan])
    axis = Axis.over(values, label="x")
    assert -0.05 < axis.low < 0
    assert 1 < axis.high < 1.05
    alone = Axis.over(np.array([8.9]), label="x")
    assert alone.low < 8.9 < alone.high


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_an_axis_that_goes_nowhere_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match=r"an axis goes from low to high, got .* for 'x'"):
        Axis(low=low, high=high, label="x")


def test_values_find_their_places() -> None:
    frame = Frame(x=Axis(low=0, high=10, label="x"), y=Axis(low=0, high=1, label="y"))
    width, height = frame.inner
    x, y = frame.place(np.array([0.0, 5.0, 10.0]), np.array([0.0, 0.5, 1.0]))
    assert x.tolist() == [0, width / 2, width]
    assert y.tolist() == [height, height / 2, 0]
    turned = Frame(x=Axis(low=0, high=10, label="x", is_reversed=True), y=frame.y)
    assert turned.place(np.array([0.0, 10.0]), np.zeros(2))[0].tolist() == [width, 0]


def test_a_frame_is_one_picture_that_says_what_it_shows() -> None:
    frame = Frame(x=Axis(low=0, high=10, label="<x>"), y=Axis(low=0, high=1, label="y & z"))
    root = ElementTree.fromstring(frame.draw(says='a "chart"'))
    assert (root.get("role"), root.get("aria-label"), root.get("viewBox")) == ("img", 'a "chart"', "0 0 440 300")
    texts = [element.text for element in root.iter("text")]
    assert "<x>" in texts
    assert "y & z" in texts
    for element in root.iter("text"):
        assert -1 <= float(element.get("x", "nan")) <= 440
        assert 0 <= float(element.get("y", "nan")) <= 300
