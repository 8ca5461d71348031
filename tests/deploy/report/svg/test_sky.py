from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from skymetal.catalogs.healpix import healpix29
from skymetal.deploy.report.svg.sky import MIDDLE, RADIUS, Field, draw_sky, mollweide


def test_mollweide_is_the_one_of_the_books() -> None:
    dec = np.linspace(-90, 90, 181)
    x, y = mollweide(np.full_like(dec, 90.0), dec, 180.0)
    theta = np.arcsin(y)
    assert np.allclose(2 * theta + np.sin(2 * theta), np.pi * np.sin(np.radians(dec)), atol=1e-5)
    assert np.allclose(x, 0.5 * np.cos(theta))
    assert np.allclose(mollweide(np.array([180.0, 360.0, 0.0]), np.zeros(3), 180.0)[0], [0, -1, 1])


def test_equal_areas_of_the_sky_are_equal_on_paper() -> None:
    rng = np.random.default_rng(0)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, 200_000)))
    x, y = mollweide(rng.uniform(0, 360, 200_000), dec, 180.0)
    inside = np.hypot(x, y)
    assert inside.max() <= 1 + 1e-9
    assert np.mean(inside < 0.5) == pytest.approx(0.25, abs=0.005)


def polygons(chart: str) -> list[np.ndarray]:
    paths = [e.get("d", "") for e in ElementTree.fromstring(chart).iter("path") if e.get("class") == "density"]
    return [
        np.array(re.findall(r"-?[\d.]+", polygon), float).reshape(-1, 2)
        for path in paths
        for polygon in path.split("z")
        if polygon
    ]


def area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return 0.5 * abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1)))


@pytest.mark.parametrize("centre_ra", [0.0, 180.0])
@pytest.mark.parametrize("order", [0, 2, 4])
def test_the_cells_of_the_whole_sky_fill_the_map_once(order: int, centre_ra: float) -> None:
    cells = np.arange(12 << (2 * order))
    chart = draw_sky(cells, np.ones_like(cells), order=order, centre_ra=centre_ra, says="all")
    found = polygons(chart)
    assert sum(map(area, found)) == pytest.approx(np.pi * RADIUS * RADIUS / 2, rel={0: 0.1, 2: 0.01, 4: 0.01}[order])
    for polygon in found:
        inside = np.hypot((polygon[:, 0] - MIDDLE[0]) / RADIUS, (polygon[:, 1] - MIDDLE[1]) / (RADIUS / 2))
        assert inside.max() <= 1.001
        if order == 4:
            assert np.ptp(polygon[:, 0]) < 40, "no cell is drawn across the map"


def test_a_galaxy_east_of_the_middle_is_to_the_left() -> None:
    cells = healpix29(np.array([200.0]), np.array([40.0])) >> 50
    (polygon,) = polygons(draw_sky(cells, np.array([5]), order=4, centre_ra=180.0, says="one"))
    x, y = polygon.mean(axis=0)
    assert x < MIDDLE[0]
    assert y < MIDDLE[1]


@pytest.mark.parametrize("centre", [(185.0, 30.0), (0.5, -60.0), (10.0, 89.5)])
def test_a_field_is_as_astropy_offsets_it(centre: tuple[float, float]) -> None:
    origin = SkyCoord(*centre, unit="deg")
    rng = np.random.default_rng(0)
    angle, distance = (rng.uniform(0, limit, 50) * origin.ra.unit for limit in (360, 2))
    near = origin.directional_offset_by(angle, distance)
    east, north = Field(centre_ra=centre[0], centre_dec=centre[1]).offsets(near.ra.deg, near.dec.deg)
    assert np.allclose(east, distance.value * np.sin(angle), atol=2e-3)
    assert np.allclose(north, distance.value * np.cos(angle), atol=2e-3)


@pytest.mark.parametrize(("reach_ra", "reach_dec"), [(1.0, 1.0), (8.0, 0.2), (0.1, 5.0), (0.0, 0.0)])
def test_a_field_has_equal_scales_and_holds_every_galaxy(reach_ra: float, reach_dec: float) -> None:
    field = Field(centre_ra=185.0, centre_dec=0.0)
    east, north = np.array([-reach_ra, reach_ra]), np.array([-reach_dec, reach_dec])
    frame = field.frame(east, north)
    width, height = frame.inner
    assert width / (frame.x.high - frame.x.low) == pytest.approx(height / (frame.y.high - frame.y.low))
    x, y = frame.place(east, north)
    assert (x >= 0).all()
    assert (x <= width).all()
    assert (y >= 0).all()
    assert (y <= height).all()
    assert x[0] >= x[1], "east is to the left"
    ElementTree.fromstring(field.draw_points(185.0 + east, north, says="field"))
