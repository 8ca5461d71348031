from __future__ import annotations

import numpy as np
import pytest

from skymetal.catalogs.healpix import healpix29, neighbour_cells, unit_vectors, valid_positions, wrap_ra


def test_known_positions_have_known_indices() -> None:
    index = healpix29(np.array([45.0, 0.0]), np.array([0.0, 90.0]))
    # The north pole is the last corner of base pixel 0; (45°, 0°) lies in base pixel 4's … 0's shared meridian.
    assert index.dtype == np.int64
    assert index[1] >> 58 in (0, 1, 2, 3)
    assert (index >= 0).all()
    assert (index < 12 * 4**29).all()


def test_neighbours_on_the_sky_are_neighbours_in_the_index() -> None:
    index = healpix29(np.array([150.0, 150.0 + 1e-7, 330.0]), np.array([2.0, 2.0, 2.0]))
    assert abs(int(index[1]) - int(index[0])) < abs(int(index[2]) - int(index[0])) / 1e6


@pytest.mark.parametrize(
    ("ra", "dec"),
    [(np.nan, 0.0), (np.inf, 0.0), (-1e-17, 0.0), (360.0, 0.0), (370.0, 0.0), (0.0, 91.0), (0.0, np.nan)],
)
def test_positions_that_are_not_on_the_sky_are_refused(ra: float, dec: float) -> None:
    assert not valid_positions(np.array([ra]), np.array([dec]))[0]
    with pytest.raises(ValueError, match="not on the sky"):
        healpix29(np.array([ra]), np.array([dec]))


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 0.0), (359.999, 90.0), (12.0, -90.0)])
def test_the_poles_and_the_meridian_are_on_the_sky(ra: float, dec: float) -> None:
    assert valid_positions(np.array([ra]), np.array([dec]))[0]
    assert healpix29(np.array([ra]), np.array([dec]))[0] >= 0


def test_right_ascensions_wrap_only_where_rounding_made_them_leave() -> None:
    ra = np.array([360.0, -1e-17, -1e-9, 360.0 + 5e-10, -0.0, 12.5, 370.0, -0.1, -1.1e-9, np.nan, np.inf])
    wrapped = wrap_ra(ra)
    assert wrapped[:6] == pytest.approx([0.0, 0.0, 360.0 - 1e-9, 5e-10, 0.0, 12.5], abs=1e-12)
    assert valid_positions(wrapped, np.zeros(11)).tolist() == [True] * 6 + [False] * 5
    assert np.array_equal(wrapped[6:], ra[6:], equal_nan=True)


def test_the_centre_of_a_cell_is_within_a_milliarcsecond_of_what_lies_in_it() -> None:
    rng = np.random.default_rng(0)
    ra, dec = rng.uniform(0, 360, 5000), np.degrees(np.arcsin(rng.uniform(-1, 1, 5000)))
    east, north = np.radians(ra), np.radians(dec)
    exact = np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=1)
    apart = np.linalg.norm(unit_vectors(healpix29(ra, dec)) - exact, axis=1)
    assert np.degrees(apart.max()) * 3.6e6 < 0.4


def test_a_cell_has_eight_neighbours_or_seven_at_a_corner_of_three_base_cells() -> None:
    cells = neighbour_cells(np.array([0, 2**32 - 1, 12345]), 16)
    assert (cells == np.array([[0], [2**32 - 1], [12345]])).sum(axis=1).tolist() == [1, 1, 1]
    assert (cells < 0).sum(axis=1).max() <= 1
    assert (cells[2] >= 0).all()
