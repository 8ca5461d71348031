"""From an HDU that passed the header check to planes of float32, NaN where there is no data. Runs in the decoder."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from skymetal.catalogs.fits.cards import BLOCK, FitsError
from skymetal.catalogs.fits.header import Hdu, walk_hdus
from skymetal.catalogs.fits.plain_file import file_size, open_plain

Answer = tuple[dict[str, Any], NDArray[np.float32] | None]
"""What a function of the decoder yields: fields that JSON can hold, and an array or none."""
_PRIMARY = "".join(
    card.ljust(80)
    for card in ("SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   = 0", "END")
)


class Unsuitable(Exception):
    """A file that can be read, and is not what the job says it is. Its text is a whole reason, its kind first."""

    def __init__(self, reason: str, flags: int = 0) -> None:
        super().__init__(reason)
        self.flags = flags


@contextmanager
def open_fits(path: Path) -> Iterator[tuple[BinaryIO, list[Hdu], dict[str, Any]]]:
    """Open a FITS file, plain, gzip or bzip2; yield it with its images of two axes or more.

    The cards are those that hold for images which have none of their own: of a primary header without pixels.
    """
    with open_plain(path) as file:
        hdus = walk_hdus(file, size=file_size(file))
        images = [hdu for hdu in hdus if (hdu.is_image or hdu.is_compressed_image) and len(image_shape(hdu)) > 1]
        if not images:
            raise Unsuitable("no image: the file has no HDU of pixels in two dimensions")
        yield file, images, {} if hdus[0].data_bytes else hdus[0].cards


def image_shape(hdu: Hdu) -> tuple[int, ...]:
    """Return the shape of an image, rows × columns last, without leading axes of length 1."""
    shape = hdu.shape
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    return shape


def read_pixels(file: BinaryIO, hdu: Hdu) -> NDArray[Any]:
    """Return the pixels in physical units, of :func:`image_shape`, as they are in the file: the bottom row first."""
    file.seek(hdu.data_start)
    data = file.read(hdu.data_bytes)
    if len(data) < hdu.data_bytes:
        raise FitsError(f"short data: the file ends within HDU {hdu.index}")
    _check_sum(hdu, data)
    values = _unpack_tiles(hdu, data) if hdu.is_compressed_image else _scale(hdu, data)
    return values.reshape(image_shape(hdu))


def _scale(hdu: Hdu, data: bytes) -> NDArray[Any]:
    bitpix = hdu.cards["BITPIX"]
    raw: NDArray[Any] = np.frombuffer(data, f">{'f' if bitpix < 0 else 'i' if bitpix > 8 else 'u'}{abs(bitpix) // 8}")
    scale, zero, blank = (hdu.cards.get(name) for name in ("BSCALE", "BZERO", "BLANK"))
    if (scale, zero) in ((None, None), (1, 0), (1, None), (None, 0)) and (bitpix < 0 or blank is None):
        return raw
    values = raw * np.float64(1 if scale is None else scale) + np.float64(0 if zero is None else zero)
    if bitpix > 0 and blank is not None:
        values[raw == blank] = np.nan
    return values


def _unpack_tiles(hdu: Hdu, data: bytes) -> NDArray[Any]:
    padded = _PRIMARY.ljust(BLOCK).encode() + hdu.header + data + bytes(-len(data) % BLOCK)
    with fits.open(io.BytesIO(padded), memmap=False) as hdus:
        values = hdus[1].data
    if values is None or values.shape != hdu.shape:
        raise FitsError(f"damaged tiles: HDU {hdu.index} does not unpack to its own shape")
    return np.asarray(values)


def _check_sum(hdu: Hdu, data: bytes) -> None:
    """Compare the data with DATASUM (FITS standard 4.0, appendix J), where the file has one."""
    recorded = str(hdu.cards.get("DATASUM") or "").strip()
    if not recorded:  # blanks mean that the sum is undefined
        return
    words = np.frombuffer(data + bytes(-len(data) % 4), ">u4")
    total = int(words.sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    if recorded != str(total):
        raise FitsError(f"wrong DATASUM: the data of HDU {hdu.index} are not those written")
