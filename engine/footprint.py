"""Roughly where on the sky a frame lies: enough to choose the one that holds a galaxy, without opening any."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """A frame of width × height pixels around (ra, dec); nothing of it is farther from there than radius_deg.

    to_pixels, (2, 3), makes pixels (x, y), counted from 0 at a pixel's middle, of (xi, eta, 1) on the tangent plane
    at (ra, dec): exact for a TAN frame, within a few pixels for others.
    """

    ra: float
    dec: float
    radius_deg: float
    width: int
    height: int
    to_pixels: tuple[float, ...]


class FrameChooser:
    """Finds among many footprints those that hold a position."""

    def __init__(self, footprints: Sequence[Footprint]) -> None:
        self._ra_F = np.array([frame.ra for frame in footprints])
        self._dec_F = np.array([frame.dec for frame in footprints])
        self._axis_F3 = unit_vectors(self._ra_F, self._dec_F)
        self._cos_radius_F = np.cos(np.radians([min(frame.radius_deg, 90.0) for frame in footprints]))
        self._size_F2 = np.array([(frame.width, frame.height) for frame in footprints])
        self._to_pixels_F23 = np.array([frame.to_pixels for frame in footprints]).reshape(-1, 2, 3)

    def rank(self, ra: float, dec: float, *, tolerance_pix: float = 4.0) -> list[int]:
        """Return which frames hold the position, the one first where it is farthest from the edge.

        A position up to tolerance_pix beyond an edge counts as held: whoever opens the frame knows exactly.
        """
        if not len(self._ra_F):
            return []
        near = np.flatnonzero(self._axis_F3 @ unit_vectors(ra, dec) >= self._cos_radius_F)
        if not len(near):
            return []
        xi, eta = gnomonic(ra, dec, self._ra_F[near], self._dec_F[near])
        plane_F3 = np.stack([xi, eta, np.ones_like(xi)], axis=-1)
        pixel_F2 = np.einsum("fij,fj->fi", self._to_pixels_F23[near], plane_F3) + 0.5
        distance_F = np.minimum(pixel_F2, self._size_F2[near] - pixel_F2).min(axis=1)
        order = np.argsort(-distance_F, kind="stable")
        found: list[int] = near[order[distance_F[order] > -tolerance_pix]].tolist()
        return found


def unit_vectors(ra: Any, dec: Any) -> NDArray[np.float64]:
    """Return (..., 3) of positions in degrees."""
    lon, lat = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def separation_arcsec(ra: float, dec: float, ra0: float, dec0: float) -> float:
    """Return the angle between two positions in degrees."""
    chord = float(np.linalg.norm(unit_vectors(ra, dec) - unit_vectors(ra0, dec0)))
    return 3600 * math.degrees(2 * math.asin(min(chord / 2, 1.0)))


def gnomonic(ra: Any, dec: Any, ra0: Any, dec0: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (xi, eta), degrees east and north on the plane that touches the sky at (ra0, dec0)."""
    delta, lat, lat0 = np.radians(ra - ra0), np.radians(dec), np.radians(dec0)
    depth = np.sin(lat) * np.sin(lat0) + np.cos(lat) * np.cos(lat0) * np.cos(delta)
    xi = np.cos(lat) * np.sin(delta) / depth
    eta = (np.sin(lat) * np.cos(lat0) - np.cos(lat) * np.sin(lat0) * np.cos(delta)) / depth
    return np.degrees(xi), np.degrees(eta)
