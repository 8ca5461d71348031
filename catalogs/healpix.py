"""Sky positions as HEALPix indices: nested scheme, order 29, the order in which galaxies are kept."""

from __future__ import annotations

import numpy as np
from astropy.coordinates import Latitude, Longitude
from cdshealpix.nested import lonlat_to_healpix
from numpy.typing import NDArray

ORDER = 29


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
    index = lonlat_to_healpix(Longitude(ra_N, unit="deg"), Latitude(dec_N, unit="deg"), ORDER)
    return np.asarray(index).astype(np.int64)
