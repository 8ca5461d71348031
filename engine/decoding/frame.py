"""Cutouts from one frame (or coadd brick) of a survey, by its WCS. Runs in the decoder."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from skymetal.catalogs.errors import first_line
from skymetal.catalogs.fits.cards import FitsError
from skymetal.catalogs.fits.header import first_image
from skymetal.catalogs.fits.plain_file import open_stream
from skymetal.catalogs.flags import Flag
from skymetal.engine.decoding.pixels import Answer, Unsuitable, image_shape, open_fits, read_pixels
from skymetal.engine.decoding.wcs import MATRIX_TOLERANCE, is_mirrored, make_wcs, pixel_sides_arcsec, to_pixels
from skymetal.engine.flux import no_data_as_nan
from skymetal.engine.footprint import gnomonic, unit_vectors
from skymetal.engine.framing import resample
from skymetal.engine.quality import inspect_coverage

MAX_BOX_PIX = 8192
_EDGE_TOLERANCE_PIX = 1e-4


@dataclass(frozen=True, kw_only=True)
class _Plane:
    """One band of a frame, the bottom row first."""

    flux_HW: NDArray[np.float32]
    wcs: WCS


@dataclass(frozen=True, kw_only=True)
class _Box:
    """A rectangle in a plane, in pixels from its bottom left corner."""

    left: float
    bottom: float
    right: float
    top: float


def read_footprint(*, path: str) -> Iterator[Answer]:
    """Yield one answer, without an array: the fields of the file's :class:`~skymetal.engine.footprint.Footprint`.

    No more than the header is read and unfolded.
    """
    with open_stream(Path(path)) as file:
        hdu = first_image(file)
    wcs = make_wcs(hdu.cards)
    height, width = _two_axes(image_shape(hdu))
    grid_x, grid_y = np.meshgrid(np.linspace(-0.5, width - 0.5, 5), np.linspace(-0.5, height - 0.5, 5))
    ra, dec = wcs.all_pix2world(grid_x.ravel(), grid_y.ravel(), 0)
    ra0, dec0 = ra[ra.size // 2], dec[dec.size // 2]
    xi, eta = gnomonic(ra, dec, ra0, dec0)
    if not (np.isfinite(xi).all() and np.isfinite(eta).all()):
        raise Unsuitable("bad WCS: parts of the frame are not on the sky")
    plane = np.stack([xi, eta, np.ones_like(xi)], axis=-1)
    to_pixels, *_ = np.linalg.lstsq(plane, np.stack([grid_x.ravel(), grid_y.ravel()], axis=-1))
    cosine = (unit_vectors(ra, dec) @ unit_vectors(ra0, dec0)).min()
    radius = 1.05 * math.degrees(math.acos(max(-1.0, min(1.0, cosine)))) + 0.01
    fields = {"ra": ra0, "dec": dec0, "radius_deg": radius, "width": width, "height": height}
    yield fields | {"to_pixels": to_pixels.T.ravel().tolist()}, None


def cut_frame(
    *,
    paths: Sequence[str],
    bands: Sequence[str],
    ra: Sequence[float],
    dec: Sequence[float],
    scale_arcsec: Sequence[float],
    size_pix: int,
) -> Iterator[Answer]:
    """Yield an answer a target: flux (size_pix, size_pix, C), row 0 on top; fields flags, reason.

    paths are the frame's files, one a band; each is opened once, and each band is placed by its own WCS. North stays
    as it is in the frame; a frame that is mirrored is mirrored back, so that pictures show the sky as it is seen.
    Bands that are turned against each other are refused: they would not overlay.
    """
    planes = [_read_plane(path, band if len(bands) > 1 else "") for path, band in zip(paths, bands, strict=True)]
    places = [to_pixels(plane.wcs, ra, dec) for plane in planes]
    is_turned = np.stack([_is_turned(planes[0].wcs, plane.wcs, ra, dec) for plane in planes])
    for target, scale in enumerate(scale_arcsec):
        if is_turned[:, target].any():
            other = bands[int(np.argmax(is_turned[:, target]))]
            yield _refused(f"bands differ: the frame's north is not the same in {bands[0]} and {other}")
            continue
        yield _cut(planes, [place[target] for place in places], bands=bands, scale_arcsec=scale, size_pix=size_pix)


def _is_turned(wcs: WCS, other: WCS, ra: Sequence[float], dec: Sequence[float]) -> NDArray[np.bool_]:
    """Tell, for each position, whether north has another direction in one band than in the other as they are seen."""
    if wcs is other:
        return np.zeros(len(ra), bool)
    north, north_there = _north(wcs, ra, dec), _north(other, ra, dec)
    return np.asarray(np.abs(north - north_there).max(axis=-1) > MATRIX_TOLERANCE)


def _north(wcs: WCS, ra: Sequence[float], dec: Sequence[float]) -> NDArray[np.float64]:
    """Return the direction of north at some positions, (N, 2) of length 1; of south on the northern half of the sky."""
    away_from_pole = np.asarray(dec) - np.copysign(1 / 3600, dec)
    step = to_pixels(wcs, ra, away_from_pole.tolist()) - to_pixels(wcs, ra, dec)
    if is_mirrored(wcs.pixel_scale_matrix):
        step[:, 0] *= -1
    direction: NDArray[np.float64] = step / np.hypot(step[:, :1], step[:, 1:])
    return direction


def _read_plane(path: str, band: str) -> _Plane:
    try:
        with open_fits(Path(path)) as (file, images, _):
            wcs = make_wcs(images[0].cards)
            _two_axes(image_shape(images[0]))
            return _Plane(flux_HW=no_data_as_nan(read_pixels(file, images[0])), wcs=wcs)
    except (FileNotFoundError, FitsError, Unsuitable) as error:
        if not band:
            raise
        if isinstance(error, FileNotFoundError):
            raise Unsuitable(f"no such file: band {band}") from error
        text = f"unreadable FITS: {first_line(error)}" if isinstance(error, FitsError) else first_line(error)
        kind, _, rest = text.partition(": ")
        raise Unsuitable(f"{kind}: band {band}, {rest}") from error


def _two_axes(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) != 2:
        raise Unsuitable(f"wrong shape: the first image has {len(shape)} axes, expected rows × columns")
    return shape[0], shape[1]


def _cut(
    planes: Sequence[_Plane],
    places: Sequence[NDArray[np.float64]],
    *,
    bands: Sequence[str],
    scale_arcsec: float,
    size_pix: int,
) -> Answer:
    flags, flux, has_data = Flag(0), [], []
    for plane, (x, y) in zip(planes, places, strict=True):
        height, width = plane.flux_HW.shape
        if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
            return _refused("outside: the frame does not hold this position")
        side_x, side_y = pixel_sides_arcsec(plane.wcs)
        half_x, half_y = (size_pix * scale_arcsec / side / 2 for side in (side_x, side_y))
        if 2 * max(half_x, half_y) > MAX_BOX_PIX:
            return _refused(f"too large: the cutout would be {2 * half_x:.4g} pixels of the frame wide")
        x, y = x + 0.5, y + 0.5
        box = _Box(left=x - half_x, bottom=y - half_y, right=x + half_x, top=y + half_y)
        if min(box.left, box.bottom, width - box.right, height - box.top) < -_EDGE_TOLERANCE_PIX:
            flags |= Flag.EDGE | Flag.PADDED
        flux.append(_resample(plane, box, size_pix))
        rows = slice(max(math.floor(box.bottom), 0), math.ceil(box.top))
        has_data.append(~np.isnan(plane.flux_HW[rows, max(math.floor(box.left), 0) : math.ceil(box.right)]))
    rows_H, columns_W = (min(part.shape[axis] for part in has_data) for axis in (0, 1))
    more, reason = inspect_coverage(np.stack([part[:rows_H, :columns_W] for part in has_data]), bands)
    if reason:
        return _refused(reason, flags | more)
    return {"flags": int(flags | more), "reason": ""}, np.stack(flux, axis=-1)


def _refused(reason: str, flags: int = 0) -> Answer:
    fields: dict[str, Any] = {"flags": int(flags), "reason": reason}
    return fields, None


def _resample(plane: _Plane, box: _Box, size_pix: int) -> NDArray[np.float32]:
    """Return what is in the box, top row first, NaN beyond the plane. The kernel may look a little past the box."""
    reach = 2 + math.ceil(max(box.right - box.left, box.top - box.bottom) / size_pix)
    x0, y0 = math.floor(box.left) - reach, math.floor(box.bottom) - reach
    x1, y1 = math.ceil(box.right) + reach, math.ceil(box.top) + reach
    height, width = plane.flux_HW.shape
    window = np.full((y1 - y0, x1 - x0), np.nan, np.float32)
    inside_y, inside_x = slice(max(y0, 0), min(y1, height)), slice(max(x0, 0), min(x1, width))
    target = window[inside_y.start - y0 : inside_y.stop - y0, inside_x.start - x0 : inside_x.stop - x0]
    target[...] = plane.flux_HW[inside_y, inside_x]
    left, right = box.left - x0, box.right - x0
    if is_mirrored(plane.wcs.pixel_scale_matrix):
        window, left, right = window[:, ::-1], x1 - box.right, x1 - box.left
    return resample(window[None, ::-1], box=(left, y1 - box.top, right, y1 - box.bottom), size_pix=size_pix)[:, :, 0]
