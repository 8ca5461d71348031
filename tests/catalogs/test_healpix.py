from __future__ import annotations

import numpy as np
import pytest

from skymetal.catalogs.healpix import healpix29, valid_positions


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
