"""Circles and boxes on the sky: which HEALPix indices they may hold, and how far two points are apart."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.healpix import ORDER, cell_centres, cells_in_cone

MAX_RADIUS_ARCSEC = 180 * 3600.0
# The side of a base pixel, nearly: 4π steradians in 12 squares; and how far a corner can be from a centre.
_BASE_SIDE_DEG = 58.6
_BASE_REACH_DEG = 61.3
_SIDE_OVER_THINNEST = 1.6
# Order 20 is 0.2 arcsec: finer pixels only make more ranges.
_MAX_CONE_ORDER = 20
_MAX_BOX_CELLS = 2048
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
    return _as_ranges(*cells_in_cone(ra, dec, radius_deg, order))


def check_box(ra: tuple[float, float], dec: tuple[float, float]) -> None:
    """Raise InputError for a box that is not on the sky."""
    if not all(0.0 <= side <= 360.0 for side in ra):
        raise InputError(f"ra must be from 0 to 360 degrees, got {ra[0]} to {ra[1]}; across 0 give, say, 350 to 10")
    if not -90.0 <= dec[0] <= dec[1] <= 90.0:
        raise InputError(f"dec must be from -90 to 90 degrees, the lower first, got {dec[0]} to {dec[1]}")


def box_ranges(ra: tuple[float, float], dec: tuple[float, float]) -> NDArray[np.int64]:
    """Return (R, 2): the [start, stop) ranges of order-29 indices that hold every position within the box.

    From the 12 base pixels down, cells that the box cannot touch are left out, until there are enough cells.
    """
    width = ra[1] - ra[0] if ra[1] >= ra[0] else ra[1] - ra[0] + 360.0
    cell_C, order = np.arange(12), 0
    while True:
        lon_C, lat_C = cell_centres(cell_C, order)
        reach = _BASE_REACH_DEG / 2**order + _MARGIN_ARCSEC / 3600
        is_near_C = (lat_C >= dec[0] - reach) & (lat_C <= dec[1] + reach)
        # How far in right ascension a point that near to the centre can be: round a pole, anywhere.
        turn_C = np.sin(np.radians(min(reach, 90.0))) / np.maximum(np.cos(np.radians(lat_C)), 1e-9)
        turn_C = np.where(np.abs(lat_C) + reach >= 90.0, 180.0, np.degrees(np.arcsin(np.minimum(turn_C, 1.0))))
        past_C = (lon_C - ra[0]) % 360.0
        cell_C = cell_C[is_near_C & ((past_C <= width + turn_C) | (past_C >= 360.0 - turn_C))]
        if 4 * len(cell_C) > _MAX_BOX_CELLS or order == _MAX_CONE_ORDER:
            return _as_ranges(cell_C, np.full(len(cell_C), order))
        cell_C, order = (4 * cell_C[:, None] + np.arange(4)).ravel(), order + 1


def coalesce(ranges_R2: NDArray[np.int64], num_most: int) -> NDArray[np.int64]:
    """Return at most so many ranges that hold all that these do: the smallest gaps are filled."""
    if len(ranges_R2) <= num_most:
        return ranges_R2
    gap_R = ranges_R2[1:, 0] - ranges_R2[:-1, 1]
    is_kept_R = np.zeros(len(gap_R), dtype=bool)
    is_kept_R[np.argsort(gap_R)[len(gap_R) - num_most + 1 :]] = True
    is_new, is_final = np.append(True, is_kept_R), np.append(is_kept_R, True)
    return np.stack([ranges_R2[is_new, 0], ranges_R2[is_final, 1]], axis=1)


def _as_ranges(cell_P: NDArray[np.int64], order_P: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the cells of several orders as disjoint ranges of order-29 indices, in order."""
    shifts_P = 2 * (ORDER - order_P)
    starts_P = cell_P << shifts_P
    stops_P = starts_P + (np.int64(1) << shifts_P)
    by_sky = np.argsort(starts_P)
    starts_P, stops_P = starts_P[by_sky], stops_P[by_sky]
    is_new = np.ones(len(starts_P), dtype=bool)
    is_new[1:] = starts_P[1:] != stops_P[:-1]
    is_final = np.append(is_new[1:], True)
    return np.stack([starts_P[is_new], stops_P[is_final]], axis=1)


def thick_order(width_arcsec: float) -> int:
    """Return the finest order whose cells are nowhere thinner: all within that of a point is in its cell or around."""
    thinnest_arcsec = _BASE_SIDE_DEG * 3600.0 / _SIDE_OVER_THINNEST
    return min(ORDER, max(0, math.floor(math.log2(thinnest_arcsec / width_arcsec))))


def separation_arcsec(
    ra_N: NDArray[np.float64],
    dec_N: NDArray[np.float64],
    ra: float | NDArray[np.float64],
    dec: float | NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the angles from positions to a point, or each to its own; by Vincenty's formula, exact at any angle."""
    lat_N, lat, turn_N = np.radians(dec_N), np.radians(dec), np.radians(ra_N - ra)
    across_N = np.cos(lat_N) * np.sin(turn_N)
    along_N = np.cos(lat) * np.sin(lat_N) - np.sin(lat) * np.cos(lat_N) * np.cos(turn_N)
    towards_N = np.sin(lat) * np.sin(lat_N) + np.cos(lat) * np.cos(lat_N) * np.cos(turn_N)
    angle_N: NDArray[np.float64] = np.degrees(np.arctan2(np.hypot(across_N, along_N), towards_N)) * 3600.0
    return angle_N
