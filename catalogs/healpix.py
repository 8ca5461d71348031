"""Sky positions as HEALPix indices: nested scheme, order 29, the order in which galaxies are kept.

cdshealpix comes with astropy.coordinates, a second to load, so it is loaded when it is first asked.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

ORDER = 29
RA_ROUNDING_DEG = 1e-9
"""How far beyond 0 to 360 a right ascension may be and still be one that was only rounded: 4 µas."""


def wrap_ra(ra_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return right ascensions with 360, and what rounding made a hair more or less than 0 to 360, put inside.

    All others come back as they are; ``valid_positions`` judges them.
    """
    with np.errstate(invalid="ignore"):
        ra_N = np.where((ra_N < 0.0) & (ra_N >= -RA_ROUNDING_DEG), ra_N + 360.0, ra_N)
        ra_N = np.where((ra_N >= 360.0) & (ra_N <= 360.0 + RA_ROUNDING_DEG), ra_N - 360.0, ra_N)
    return ra_N + 0.0  # -0.0 is 0.0


def valid_positions(ra_N: NDArray[np.float64], dec_N: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which positions are on the sky: finite, 0 ≤ ra < 360, −90 ≤ dec ≤ 90, in degrees."""
    with np.errstate(invalid="ignore"):
        return (ra_N >= 0.0) & (ra_N < 360.0) & (np.abs(dec_N) <= 90.0)


def healpix29(ra_N: NDArray[np.float64], dec_N: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the order-29 nested index of ICRS positions in degrees.

    Raises ValueError for a position that is not on the sky: the library underneath would answer wrongly or crash.
    """
    if not valid_positions(ra_N, dec_N).all():
        raise ValueError("a position is not finite or not on the sky")
    index = _nested().lonlat_to_healpix(*_on_sky(ra_N, dec_N), ORDER)
    return np.asarray(index).astype(np.int64)


def unit_vectors(healpix_N: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the centres of order-29 cells as unit vectors, shape (N, 3); a position is within 0.4 mas of them."""
    lon, lat = _centres(healpix_N, ORDER)
    lon_N, lat_N = lon.rad, lat.rad
    return np.stack([np.cos(lat_N) * np.cos(lon_N), np.cos(lat_N) * np.sin(lon_N), np.sin(lat_N)], axis=1)


def cell_centres(cell_N: NDArray[np.int64], order: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ra and dec of the centre of each cell, in degrees."""
    lon, lat = _centres(cell_N, order)
    return lon.deg, lat.deg


def cells_in_cone(ra: float, dec: float, radius_deg: float, order: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return index and order, at most the given one, of cells that together cover a circle; all in degrees."""
    radius = import_module("astropy.units").Quantity(radius_deg, "deg")
    cells, orders, _ = _nested().cone_search(*_on_sky(ra, dec), radius, order)
    return cells.astype(np.int64), orders.astype(np.int64)


def neighbour_cells(cell_N: NDArray[np.int64], order: int) -> NDArray[np.int64]:
    """Return the cells that touch each cell, itself among them, shape (N, 9); -1 where there are only seven."""
    return np.asarray(_nested().neighbours(cell_N.astype(np.uint64), order)).astype(np.int64)


def cells_outside(cell: int, order: int, finer_order: int) -> NDArray[np.int64]:
    """Return the cells of a finer order that touch a cell from outside, at its corners too."""
    found = _nested().external_neighbours(np.array([cell], np.uint64), order, finer_order - order)
    around = np.concatenate([np.asarray(each).ravel() for each in found]).astype(np.int64)
    return around[around >= 0]


def cell_borders(cell_N: NDArray[np.int64], order: int, *, points_a_side: int = 1) -> NDArray[np.float64]:
    """Return points (N, 4 × points_a_side, 2) along the border of each cell, as ra and dec in degrees."""
    lon, lat = _nested().vertices(cell_N.astype(np.uint64), order, step=points_a_side)
    return np.stack([lon.deg, lat.deg], axis=-1)


def _nested() -> Any:
    return import_module("cdshealpix.nested")


def _centres(cell_N: NDArray[np.int64], order: int) -> Any:
    return _nested().healpix_to_lonlat(cell_N.astype(np.uint64), order)


def _on_sky(ra: Any, dec: Any) -> tuple[Any, Any]:
    coordinates = import_module("astropy.coordinates")
    return coordinates.Longitude(ra, unit="deg"), coordinates.Latitude(dec, unit="deg")
