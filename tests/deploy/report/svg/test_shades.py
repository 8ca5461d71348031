from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from skymetal.deploy.report.svg.shades import NUM_LEVELS, OPACITY, density_legend, key, levels_of, shaded


@pytest.mark.parametrize(
    ("counts", "levels"),
    [([0, 1], [-1, 0]), ([1, 1000], [0, NUM_LEVELS - 1]), ([0], [-1]), ([1], [0]), ([1, 10, 100, 1000], [0, 2, 4, 6])],
)
def test_shades_are_steps_of_the_logarithm(counts: list[int], levels: list[int]) -> None:
    assert levels_of(np.array(counts)).tolist() == levels


def test_shades_of_a_map_are_steps_of_the_number() -> None:
    assert levels_of(np.array([0, 1, 50, 100]), is_linear=True).tolist() == [-1, 0, 3, 6]


def test_shapes_are_gathered_by_shade_and_those_of_none_are_left_out() -> None:
    root = ElementTree.fromstring(f"<g>{shaded(np.array([2, -1, 0, 2]), ['M1', 'M2', 'M3', 'M4'])}</g>")
    assert [(path.get("d"), path.get("fill-opacity")) for path in root] == [("M3", "0.14"), ("M1M4", "0.42")]


def test_the_scale_goes_from_one_to_the_most() -> None:
    root = ElementTree.fromstring(density_legend(1234))
    assert "".join(root.itertext()).replace("\u202f", " ") == "1  1 234 galaxies a cell"
    assert [float(e.get("fill-opacity", "nan")) for e in root.iter("rect")] == list(OPACITY)


def test_a_key_names_its_kinds() -> None:
    root = ElementTree.fromstring(key([("quiet", "a < b"), ("accent", "c")]))
    assert [e.get("class") for e in root.iter("rect")] == ["swatch quiet", "swatch accent"]
    assert ["".join(e.itertext()).strip() for e in root.iter("span")] == ["a < b", "c"]
