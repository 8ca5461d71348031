from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fits_bytes import image_bytes, sky_cards

from skymetal.engine.footprint import Footprint, FrameChooser, gnomonic
from skymetal.engine.sources.frames import frame_index

WIDTH, HEIGHT, SCALE_DEG = 200, 100, 1e-4


def frame(ra: float, dec: float) -> Footprint:
    """Return a frame with north up and east left, and (ra, dec) in its middle."""
    to_pixels = (-1 / SCALE_DEG, 0.0, (WIDTH - 1) / 2, 0.0, 1 / SCALE_DEG, (HEIGHT - 1) / 2)
    return Footprint(ra=ra, dec=dec, radius_deg=0.05, width=WIDTH, height=HEIGHT, to_pixels=to_pixels)


def test_the_frame_that_holds_a_place_farthest_from_its_edge_comes_first() -> None:
    chooser = FrameChooser([frame(10.0, 0.0), frame(10.008, 0.0), frame(10.0, 0.0)])
    assert chooser.rank(10.0, 0.0) == [0, 2, 1]
    assert chooser.rank(10.008, 0.0) == [1, 0, 2]
    assert chooser.rank(10.0, 0.0055) == []
    assert chooser.rank(190.0, 0.0) == []
    assert FrameChooser([]).rank(10.0, 0.0) == []


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 30.0), (359.9999, -60.0), (123.0, 89.9999), (17.0, -89.999)])
def test_neither_the_first_meridian_nor_a_pole_confuses_it(ra: float, dec: float) -> None:
    chooser = FrameChooser([frame(ra, dec)])
    for x in np.linspace(-0.0098, 0.0098, 9):
        # A place x degrees east along the great circle, which for a pole is on the far side of it.
        lon, lat = np.radians(ra), np.radians(dec)
        axis = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
        place = axis + np.radians(x) * np.array([-np.sin(lon), np.cos(lon), 0.0])
        there = (
            np.degrees(np.arctan2(place[1], place[0])) % 360,
            np.degrees(np.arcsin(place[2] / np.hypot(*[np.hypot(*place[:2]), place[2]]))),
        )
        assert chooser.rank(*there) == [0]
        xi, eta = gnomonic(*there, ra, dec)
        assert (xi, eta) == pytest.approx((x, 0), abs=1e-9)


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 0.0), (359.9999, 60.0), (40.0, 89.999)])
def test_the_footprint_of_a_file_is_where_its_header_says(tmp_path: Path, ra: float, dec: float) -> None:
    cards: dict[str, Any] = sky_cards(ra=ra, dec=dec, x=30.0, y=40.0, scale_arcsec=0.5, turn_deg=33.0)
    (tmp_path / "f-r-1.fits").write_bytes(image_bytes(np.ones((100, 200), np.float32), **cards))
    index = frame_index(str(tmp_path), "f-{band}-*.fits", ("r",))
    assert index.names == ("f-{band}-1.fits",)
    assert index.chooser.rank(ra, dec) == [0]
    assert index.chooser.rank(ra, dec - 60 * 0.5 / 3600) == []
