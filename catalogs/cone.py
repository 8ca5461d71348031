"""A circle on the sky: which HEALPix indices it may hold, and how far two points are apart."""

from __future__ import annotations

import math

import astropy.units as u
import numpy as np
from astropy.coordinates import Latitude, Longitude
from cdshealpix.nested import cone_search
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.healpix import ORDER

MAX_RADIUS_ARCSEC = 180 * 3600.0
# The side of a base pixel, nearly: 4π steradians in 12 squares.
_BASE_SIDE_DEG = 58.6
# Order 20 is 0.2 arcsec: finer pixels only make more ranges.
_MAX_CONE_ORDER = 20
# A galaxy on the border of a pixel may be filed under its neighbour, by rounding: look a little further.
_MARGIN_ARCSEC = 0.01


def check_cone(ra: float, dec: float, radius_arcsec: float) -> None:
    """Raise InputError for a circle that is not on the sky."""
    if not 0.0 <= ra <= 360.0:
        raise InputError(f"ra must be from 0 to 360 degrees, got {ra}")
    if not -90.0 <= dec <= 90.0:
        raise InputError(f"dec must be from -90 to 90 degrees, got {dec}")
    if not 0.0 < radius_arcsec <= MAX_RADIUS_ARCSEC:
        raise InputError(f"the radius must be above 0 and at most {MAX_RADIUS_ARCSEC:g} arcsec, got {radius_arcsec}")


def cone_ranges(ra: float, dec: float, radius_arcsec: float) -> NDArray[np.int64]:
    """Return (R, 2): the [start, stop) ranges of order-29 indices that hold every position within the circle."""
    radius_deg = min(180.0, (radius_arcsec + _MARGIN_ARCSEC) / 3600.0)
    order = min(_MAX_CONE_ORDER, max(0, math.floor(math.log2(_BASE_SIDE_DEG / radius_deg)) + 1))
    found, depths, _ = cone_search(Longitude(ra, u.deg), Latitude(dec, u.deg), radius_deg * u.deg, order)
    shifts_P = 2 * (ORDER - depths.astype(np.int64))
    starts_P = found.astype(np.int64) << shifts_P
    stops_P = starts_P + (np.int64(1) << shifts_P)
    by_sky = np.argsort(starts_P)
    starts_P, stops_P = starts_P[by_sky], stops_P[by_sky]
    is_new = np.ones(len(starts_P), dtype=bool)
    is_new[1:] = starts_P[1:] != stops_P[:-1]
    is_final = np.append(is_new[1:], True)
    return np.stack([starts_P[is_new], stops_P[is_final]], axis=1)


def separation_arcsec(
    ra_N: NDArray[np.float64], dec_N: NDArray[np.float64], ra: float, dec: float
) -> NDArray[np.float64]:
    """Return the angle from each position to one point, all in degrees; by Vincenty's formula, exact at any angle."""
    lat_N, lat, turn_N = np.radians(dec_N), math.radians(dec), np.radians(ra_N - ra)
    across_N = np.cos(lat_N) * np.sin(turn_N)
    along_N = math.cos(lat) * np.sin(lat_N) - math.sin(lat) * np.cos(lat_N) * np.cos(turn_N)
    towards_N = math.sin(lat) * np.sin(lat_N) + math.cos(lat) * np.cos(lat_N) * np.cos(turn_N)
    angle_N: NDArray[np.float64] = np.degrees(np.arctan2(np.hypot(across_N, along_N), towards_N)) * 3600.0
    return angle_N
