from __future__ import annotations

import numpy as np
import pytest

from skymetal.catalogs.healpix import healpix29
from skymetal.deploy.report.sky_counts import FINEST, SkyCounts


def count(ra: list[float], dec: list[float]) -> SkyCounts:
    sky = SkyCounts.empty()
    sky.add(healpix29(np.array(ra, float), np.array(dec, float)))
    return sky


@pytest.mark.parametrize(
    ("ra", "dec", "centre", "radius"),
    [
        ([10.0, 20.0], [0.0, 0.0], (15.0, 0.0), 5.0),
        ([355.0, 5.0], [0.0, 0.0], (0.0, 0.0), 5.0),
        ([0.0, 90.0, 180.0, 270.0], [80.0] * 4, (None, 90.0), 10.0),
        ([185.0], [30.0], (185.0, 30.0), 0.0),
    ],
)
def test_the_middle_of_a_field_is_found_across_ra_zero_and_round_a_pole(
    ra: list[float], dec: list[float], centre: tuple[float | None, float], radius: float
) -> None:
    found, found_radius = count(ra, dec).centre_and_radius()
    assert found[1] == pytest.approx(centre[1], abs=0.15)
    if centre[0] is not None:
        assert np.cos(np.radians(found[0] - centre[0])) == pytest.approx(1, abs=1e-5)
    assert found_radius == pytest.approx(radius, abs=0.3)


def test_galaxies_all_round_have_some_middle_and_the_whole_sky_as_radius() -> None:
    _, radius = count([0.0, 90.0, 180.0, 270.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 90.0, -90.0]).centre_and_radius()
    assert 85 < radius <= 180


def test_cells_are_as_fine_as_there_are_galaxies_for_them() -> None:
    rng = np.random.default_rng(0)
    sky = count((rng.random(50_000) * 360).tolist(), np.degrees(np.arcsin(rng.uniform(-1, 1, 50_000))).tolist())
    order = sky.finest_order(max_cells=4000, min_per_cell=3)
    assert order == 4
    assert len(sky.at(order)[0]) == 3072
    assert sky.finest_order(max_cells=10**9, min_per_cell=0) == FINEST
    assert count([1.0], [1.0]).finest_order(max_cells=10, min_per_cell=5) == 0
