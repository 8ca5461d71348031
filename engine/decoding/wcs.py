"""The part of a header that places pixels on the sky, checked and handed to wcslib. Runs in the decoder."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from skymetal.engine.decoding.pixels import Unsuitable

MATRIX_TOLERANCE = 0.01
"""How far the bands of a galaxy may differ in scale (as a share) and rotation (in radians): half a pixel at the rim."""
MAX_SIP_ORDER = 9
MAX_OFFSET_PIX = 1e7
SCALES_ARCSEC = (1e-3, 1e3)
_DISTORTION = re.compile(r"(A|B|AP|BP)_\d_\d")
_NUMBER = re.compile(r"CR(VAL|PIX)[12]|CD[12]_[12]|PC[12]_[12]|CDELT[12]|CROTA2|LONPOLE|LATPOLE|PV[12]_\d+")
_PROJECTION = re.compile(r"RA---([A-Z]{3}(?:-SIP)?)/DEC--([A-Z]{3}(?:-SIP)?)")
_SKIES = (None, "ICRS", "FK5")


def make_wcs(cards: dict[str, Any]) -> WCS:
    """Return the WCS of an image; raise Unsuitable where it has none that places a pixel on the sky.

    Only numbers that were checked go to wcslib, and no tables of distortions.
    """
    names = f"{cards.get('CTYPE1')}/{cards.get('CTYPE2')}"
    types = _PROJECTION.fullmatch(names)
    if types is None or types[1] != types[2]:
        raise Unsuitable(f"bad WCS: CTYPE is {names!r:.40}, not RA---xxx and DEC--xxx of one projection")
    sky = cards.get("RADESYS", cards.get("RADECSYS"))
    if sky not in _SKIES or cards.get("EQUINOX", 2000) != 2000:
        raise Unsuitable(f"bad WCS: coordinates of {sky!r:.20}, {cards.get('EQUINOX')!r:.20}; expected ICRS or J2000")
    if any(cards.get(name, "deg") not in ("deg", "degree") for name in ("CUNIT1", "CUNIT2")):
        raise Unsuitable("bad WCS: CUNIT is not deg")
    if any(name.startswith(("CPDIS", "CQDIS", "D2IMDIS")) for name in cards):
        raise Unsuitable("bad WCS: distortions by table are not read")
    header = fits.Header()
    for name in ("CTYPE1", "CTYPE2"):
        header[name] = cards[name]
    for name, value in cards.items():
        if _NUMBER.fullmatch(name):
            header[name] = _finite(name, value)
    for name in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2"):
        _finite(name, cards.get(name))
    _check_numbers(cards)
    if types[1].endswith("-SIP"):
        header.update(_distortion(cards))
    try:
        return WCS(header, naxis=2, fix=False)
    except Exception as error:  # wcslib has a dozen kinds, without a common one
        raise Unsuitable(f"bad WCS: wcslib refuses it, {type(error).__name__}") from error


def to_pixels(wcs: WCS, ra: Sequence[float], dec: Sequence[float]) -> NDArray[np.float64]:
    """Return (N, 2) positions x, y, from 0 at the middle of the bottom left pixel; NaN beyond the projection."""
    try:
        return np.stack(wcs.all_world2pix(np.asarray(ra), np.asarray(dec), 0, quiet=True), axis=-1)
    except Exception as error:
        raise Unsuitable(f"bad WCS: wcslib refuses it, {type(error).__name__}") from error


def to_sky(wcs: WCS, x: float, y: float) -> tuple[float, float]:
    """Return the position of a pixel, counted as above; NaN beyond the projection."""
    try:
        ra, dec = wcs.all_pix2world(x, y, 0)
    except Exception as error:
        raise Unsuitable(f"bad WCS: wcslib refuses it, {type(error).__name__}") from error
    return float(ra), float(dec)


def pixel_scale_arcsec(cards: dict[str, Any]) -> float | None:
    """Return the size of a pixel, or None where the header does not tell one that is believable."""
    matrix = _matrix(cards)
    scale = 3600 * math.sqrt(abs(np.linalg.det(matrix))) if matrix is not None and np.isfinite(matrix).all() else 0.0
    return scale if SCALES_ARCSEC[0] <= scale <= SCALES_ARCSEC[1] else None


def pixel_sides_arcsec(wcs: WCS) -> tuple[float, float]:
    """Return the width and height of a pixel."""
    sides: NDArray[np.float64] = 3600 * np.sqrt((wcs.pixel_scale_matrix**2).sum(axis=0))
    return float(sides[0]), float(sides[1])


def has_wcs(cards: dict[str, Any]) -> bool:
    """Return whether a header says anything of where on the sky its pixels are."""
    return "CTYPE1" in cards or _matrix(cards) is not None


def sky_matrix(cards: dict[str, Any]) -> NDArray[np.float64] | None:
    """Return degrees a pixel, east and north by x and y; None where the header does not tell what is believable."""
    return _matrix(cards) if pixel_scale_arcsec(cards) is not None else None


def is_mirrored(matrix: NDArray[np.float64]) -> bool:
    """Return whether east is on the right where north is up: the sky as seen from outside."""
    return bool(np.linalg.det(matrix) > 0)


def describe_matrix(matrix: NDArray[np.float64]) -> str:
    """Return the scale, and how far north is to the left of up, in words."""
    side = 3600 * math.sqrt(abs(np.linalg.det(matrix)))
    turn_deg = round(math.degrees(math.atan2(-matrix[0, 1], matrix[1, 1])) % 360, 1) % 360
    return f"{side:.4g} arcsec/pixel turned by {turn_deg:.1f}°"


def _check_numbers(cards: dict[str, Any]) -> None:
    if abs(cards["CRVAL2"]) > 90 or abs(cards["CRVAL1"]) > 360:
        raise Unsuitable(
            f"bad WCS: CRVAL is {cards['CRVAL1']}, {cards['CRVAL2']}, which is no right ascension and declination"
        )
    if max(abs(cards["CRPIX1"]), abs(cards["CRPIX2"])) > MAX_OFFSET_PIX:
        raise Unsuitable(f"bad WCS: CRPIX is {cards['CRPIX1']}, {cards['CRPIX2']}")
    if pixel_scale_arcsec(cards) is None:
        low, high = SCALES_ARCSEC
        raise Unsuitable(f"bad WCS: its matrix does not give pixels of {low:g} to {high:g} arcsec")


def _matrix(cards: dict[str, Any]) -> NDArray[np.float64] | None:
    """Return degrees a pixel as a 2 × 2 matrix: CD, or CDELT with PC or CROTA2 (Calabretta & Greisen 2002)."""
    names = [["1_1", "1_2"], ["2_1", "2_2"]]
    if any(f"CD{name}" in cards for row in names for name in row):
        return np.array([[_number(cards.get(f"CD{name}", 0.0)) for name in row] for row in names])
    if "CDELT1" not in cards or "CDELT2" not in cards:
        return None
    steps = np.array([[_number(cards["CDELT1"])], [_number(cards["CDELT2"])]])
    unit = [[1.0, 0.0], [0.0, 1.0]]
    turn = np.array(
        [[_number(cards.get(f"PC{name}", unit[i][j])) for j, name in enumerate(row)] for i, row in enumerate(names)]
    )
    matrix: NDArray[np.float64] = steps * turn
    return matrix


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _finite(name: str, value: Any) -> float:
    number = _number(value)
    if not math.isfinite(number):
        raise Unsuitable(f"bad WCS: {name} is {value!r:.40}, not a number")
    return number


def _distortion(cards: dict[str, Any]) -> dict[str, float]:
    """Return the polynomials of SIP (Shupe et al. 2005)."""
    found: dict[str, float] = {}
    for name in ("A", "B", "AP", "BP"):
        order = cards.get(f"{name}_ORDER")
        if order is None:
            continue
        if isinstance(order, bool) or not isinstance(order, int) or not 0 <= order <= MAX_SIP_ORDER:
            raise Unsuitable(f"bad WCS: {name}_ORDER is {order!r:.40}, expected 0 to {MAX_SIP_ORDER}")
        found[f"{name}_ORDER"] = order
    if ("A_ORDER" in found) != ("B_ORDER" in found) or ("AP_ORDER" in found) != ("BP_ORDER" in found):
        raise Unsuitable("bad WCS: half of the SIP distortion is missing")
    found.update({name: _finite(name, value) for name, value in cards.items() if _DISTORTION.fullmatch(name)})
    return found
