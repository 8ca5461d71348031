"""A FITS cutout, one galaxy a file or a file a band, to flux of the store's size. Runs in the decoder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.errors import printable
from skymetal.catalogs.fits.header import Hdu
from skymetal.catalogs.flags import Flag
from skymetal.engine.decoding.pixels import Answer, Unsuitable, image_shape, open_fits, read_pixels
from skymetal.engine.decoding.wcs import (
    MATRIX_TOLERANCE,
    describe_matrix,
    has_wcs,
    is_mirrored,
    make_wcs,
    pixel_scale_arcsec,
    pixel_sides_arcsec,
    sky_matrix,
    to_sky,
)
from skymetal.engine.flux import crop_flux
from skymetal.engine.footprint import separation_arcsec

SCIENCE = ("SCI", "IMAGE")
COMPANIONS = ("INVVAR", "IVAR", "WEIGHT", "WHT", "VAR", "ERR", "MASK", "MASKBITS", "DQ", "PSF")
"""EXTNAMEs of images that go with the one of the galaxy, and do not show it."""


@dataclass(frozen=True, kw_only=True)
class _Image:
    """One band of a cutout as it is in the file, the bottom row first, and the cards that place it on the sky."""

    band: str
    pixels_HW: NDArray[Any]
    cards: dict[str, Any]

    @property
    def matrix(self) -> NDArray[np.float64] | None:
        """Degrees a pixel of the image as it is seen: turned over where it is mirrored; None where it has no WCS."""
        matrix = sky_matrix(self.cards)
        return matrix * (-1, 1) if matrix is not None and self.is_mirrored else matrix

    @property
    def is_mirrored(self) -> bool:
        """Whether the header says that this shows the sky from outside."""
        matrix = sky_matrix(self.cards) if str(self.cards.get("CTYPE1")).startswith("RA--") else None
        return matrix is not None and is_mirrored(matrix)

    def as_seen(self) -> NDArray[Any]:
        """Return the pixels, mirrored back where they are mirrored."""
        return self.pixels_HW[:, ::-1] if self.is_mirrored else self.pixels_HW


def read_cutout(
    *,
    paths: Sequence[str],
    bands: Sequence[str],
    file_bands: Sequence[str],
    input_size_pix: int,
    crop_pix: int,
    size_pix: int,
    place: tuple[float, float, float] | None,
) -> Iterator[Answer]:
    """Yield one answer: flux (size_pix, size_pix, C), row 0 on top; fields flags, reason, scale_arcsec.

    paths are one file a band, or one file that holds them all. The middle crop_pix of input_size_pix are kept.
    place (ra, dec, how many of the stored pixels it may be off) is where an image that has a WCS must be centred.
    North stays as it is in the file; an image that its WCS says is mirrored is mirrored back, as those of frames are.
    """
    images: list[_Image] = []
    if len(paths) == len(bands) > 1:
        for path, band in zip(paths, bands, strict=True):
            images += _read_bands(path, [band], [band], input_size_pix)
    else:
        images = _read_bands(paths[0], bands, file_bands, input_size_pix)
    if place is not None:
        ra, dec, max_offset_pix = place
        max_offset_pix *= crop_pix / size_pix
        for cards in {id(image.cards): image.cards for image in images}.values():  # the planes of a cube share theirs
            _check_place(cards, ra, dec, input_size_pix=input_size_pix, max_offset_pix=max_offset_pix)
    _check_alike(images)
    scale = pixel_scale_arcsec(images[0].cards)
    planes_CHW = np.stack([image.as_seen() for image in images])[:, ::-1]
    flux_HWC, flags, reason = crop_flux(planes_CHW, crop_pix=crop_pix, size_pix=size_pix, bands=bands)
    yield {"flags": int(flags), "reason": reason, "scale_arcsec": scale and scale * crop_pix / size_pix}, flux_HWC


def _read_bands(path: str, bands: Sequence[str], file_bands: Sequence[str], size_pix: int) -> list[_Image]:
    with open_fits(Path(path)) as (file, images, common):
        images = _science_images(images, bands)
        is_cube = len(image_shape(images[0])) > 2
        if is_cube or len(file_bands) == 1:
            images = [_only_image(images)]
        else:
            images = [hdu for hdu in images if len(image_shape(hdu)) == 2]
        for hdu in images:
            _check_size(hdu, size_pix)
        names = _plane_names(images[0], file_bands) if is_cube else _extension_names(images, bands, file_bands)
        numbers = [_find(names, band) for band in bands]
        if is_cube:
            cube, cards = read_pixels(file, images[0]), _placing_cards(images[0], common)
            return [
                _Image(band=band, pixels_HW=cube[number], cards=cards)
                for band, number in zip(bands, numbers, strict=True)
            ]
        return [
            _Image(
                band=band,
                pixels_HW=read_pixels(file, images[number]),
                cards=_placing_cards(images[number], common),
            )
            for band, number in zip(bands, numbers, strict=True)
        ]


def _placing_cards(hdu: Hdu, common: dict[str, Any]) -> dict[str, Any]:
    """Return the cards that place an image on the sky: its own, or where it has none those of the primary header."""
    return hdu.cards if has_wcs(hdu.cards) else common


def _check_alike(images: Sequence[_Image]) -> None:
    """Raise Unsuitable where two bands show the sky at another scale or turned otherwise: they do not overlay."""
    placed = [(image.band, matrix) for image in images if (matrix := image.matrix) is not None]
    for band, matrix in placed[1:]:
        first_band, first = placed[0]
        if np.abs(matrix - first).max() > MATRIX_TOLERANCE * np.sqrt(abs(np.linalg.det(first))):
            raise Unsuitable(
                f"bands differ: {first_band} has {describe_matrix(first)}, {band} {describe_matrix(matrix)}"
            )


def _science_images(images: list[Hdu], bands: Sequence[str]) -> list[Hdu]:
    """Return the images that show the galaxy: by EXTNAME a band's, or SCI or IMAGE, or else not what goes with them."""
    names = {band.casefold() for band in bands}
    of_bands = [hdu for hdu in images if hdu.name.casefold() in names]
    if of_bands:
        return of_bands if len(bands) == 1 else images
    found = [hdu for hdu in images if hdu.name.upper() in SCIENCE] or [
        hdu for hdu in images if hdu.name.upper() not in COMPANIONS
    ]
    if not found:
        raise Unsuitable(f"no image: the file has only {_show([hdu.name for hdu in images])}")
    return found


def _only_image(images: Sequence[Hdu]) -> Hdu:
    """Return the first image; raise Unsuitable where another is of its shape, since nothing tells which is meant."""
    rivals = [hdu for hdu in images if image_shape(hdu) == image_shape(images[0])]
    if len(rivals) > 1:
        shown = " and ".join(f"HDU {hdu.index} ({_show([hdu.name], 'no name')})" for hdu in rivals[:2])
        raise Unsuitable(f"unknown image: {shown} are of one shape; EXTNAME = 'SCI' must say which one it is")
    return images[0]


def _check_place(cards: dict[str, Any], ra: float, dec: float, *, input_size_pix: int, max_offset_pix: float) -> None:
    """Raise Unsuitable where the middle of an image lies elsewhere on the sky; max_offset_pix are the image's own."""
    if not str(cards.get("CTYPE1")).startswith("RA--"):
        return  # it has no WCS that could tell
    wcs = make_wcs(cards)
    middle = (input_size_pix - 1) / 2
    distance = separation_arcsec(*to_sky(wcs, middle, middle), ra, dec)
    if not distance <= max_offset_pix * max(pixel_sides_arcsec(wcs)):
        raise Unsuitable(f"wrong galaxy: its WCS is centred {distance:.1f} arcsec away")


def _check_size(hdu: Hdu, size_pix: int) -> None:
    height, width = image_shape(hdu)[-2:]
    if len(image_shape(hdu)) > 3:
        raise Unsuitable(f"wrong shape: {len(image_shape(hdu))} axes, expected bands × rows × columns")
    if (width, height) != (size_pix, size_pix):
        raise Unsuitable(f"wrong size: {width}×{height} pixels, expected {size_pix}×{size_pix}")


def _plane_names(hdu: Hdu, file_bands: Sequence[str]) -> Sequence[str]:
    """Return the bands of a cube's planes: as the header says, or else the job."""
    num_planes = image_shape(hdu)[0]
    names: Sequence[str] = file_bands
    if isinstance(text := hdu.cards.get("BANDS"), str) and text.strip():
        words = re.split(r"[\s,;]+", text.strip())
        names = words if len(words) > 1 or num_planes == 1 else list(text.strip())
    elif "BAND0" in hdu.cards:
        names = [str(hdu.cards.get(f"BAND{plane}")) for plane in range(num_planes)]
    return _check_names(names, num_planes, "planes")


def _extension_names(images: Sequence[Hdu], bands: Sequence[str], file_bands: Sequence[str]) -> Sequence[str]:
    """Return the bands of several images: their EXTNAMEs, where these name a band that is wanted, or else the job's."""
    names = [hdu.name for hdu in images]
    wanted = {band.casefold() for band in bands}
    if wanted & {name.casefold() for name in names} or not file_bands:
        return names
    return _check_names(file_bands, len(images), "images")


def _check_names(names: Sequence[str], num_found: int, what: str) -> Sequence[str]:
    if len(names) != num_found:
        raise Unsuitable(f"unknown bands: {num_found} {what}, and header or file_bands name {_show(names)}")
    return names


def _find(names: Sequence[str], band: str) -> int:
    """Return where the band is; a name of another case will do (astropy writes EXTNAME in capitals) if it is alone."""
    same = [number for number, name in enumerate(names) if name == band]
    similar = [number for number, name in enumerate(names) if name.casefold() == band.casefold()]
    found = same or similar
    if not found:
        raise Unsuitable(f"missing band: the file has {_show(names)}, not {band}", Flag.MISSING_BAND)
    if len(found) > 1:
        raise Unsuitable(f"unknown bands: {len(found)} images of the file are named {band}")
    return found[0]


def _show(names: Sequence[str], nothing: str = "no named band") -> str:
    return ", ".join(printable(name)[:20] for name in names if name) or nothing
