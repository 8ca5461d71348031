"""What a FITS file claims to be, checked before a library acts on it.

A header can claim 10^9 axes, 40 GB on 2,880 bytes or a compression whose decoder corrupts memory, and readers try.
Everything that decides how much is read, allocated or which decoder runs is checked here, against the file's real size.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO

from skymetal.catalogs.fits.cards import BLOCK, FitsError, parse_cards, read_header

MAX_HDUS = 100
MAX_AXES = 9
MAX_PIXELS = 1 << 28
MAX_SKIPPED_BYTES = 64 << 20
"""How far into a file its first image may begin, where it is unfolded to get there."""
MAX_FIELDS = 999
BITPIX = (8, 16, 32, 64, -32, -64)
COMPRESSIONS = ("RICE_1", "RICE_ONE", "GZIP_1", "GZIP_2", "NOCOMPRESS")
"""Tile compressions that are decoded. Not HCOMPRESS_1: a damaged tile makes astropy's decoder write past its memory."""
_PARAMETERS = {"BLOCKSIZE": (16, 32), "BYTEPIX": (1, 2, 4, 8)}
_QUANTISATIONS = (None, "NO_DITHER", "NONE", "SUBTRACTIVE_DITHER_1", "SUBTRACTIVE_DITHER_2")


@dataclass(frozen=True, kw_only=True)
class Hdu:
    """One header and where its data are. The header's claims have been checked."""

    index: int
    cards: dict[str, Any]
    header: bytes
    data_start: int
    data_bytes: int

    @property
    def kind(self) -> str:
        """The kind of data: IMAGE, BINTABLE, TABLE or another XTENSION."""
        return str(self.cards["XTENSION"]) if self.index else "IMAGE"

    @property
    def name(self) -> str:
        """EXTNAME, or nothing."""
        return str(self.cards.get("EXTNAME") or "")

    @property
    def is_image(self) -> bool:
        """Whether this is a plain image that has pixels."""
        return self.kind == "IMAGE" and self.data_bytes > 0

    @property
    def is_table(self) -> bool:
        """Whether this is a binary table of rows, not of compressed tiles."""
        return self.kind == "BINTABLE" and not self.is_compressed_image

    @property
    def is_compressed_image(self) -> bool:
        """Whether this is an image in compressed tiles (ZIMAGE)."""
        return self.kind == "BINTABLE" and self.cards.get("ZIMAGE") is True

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of the image (or table, rows × bytes) in numpy's order, the last axis fastest."""
        return _shape(self.cards, "Z" if self.is_compressed_image else "")[::-1]


def walk_hdus(file: BinaryIO, *, size: int) -> list[Hdu]:
    """Return every HDU of the ``size`` bytes of a seekable, uncompressed file.

    Raises FitsError where it is not FITS, claims more than it holds, or is of a form that is not read here.
    """
    if size == 0:
        raise FitsError("empty file")
    hdus: list[Hdu] = []
    position = 0
    while position < size:
        file.seek(position)
        if hdus and _is_padding(file):
            break
        if len(hdus) == MAX_HDUS:
            raise FitsError(f"too many HDUs: more than {MAX_HDUS}")
        file.seek(position)
        hdu = _read_hdu(file, len(hdus), size=size)
        hdus.append(hdu)
        position = hdu.data_start + -(-hdu.data_bytes // BLOCK) * BLOCK
    return hdus


def first_image(file: BinaryIO) -> Hdu:
    """Return the first image of two axes or more, reading no further than its header.

    The file may be a stream that unfolds as it is read; then its size is not known, and not checked.
    """
    position = 0
    for index in range(MAX_HDUS):
        file.seek(position)
        hdu = _read_hdu(file, index, size=sys.maxsize)
        if (hdu.is_image or hdu.is_compressed_image) and len(hdu.shape) > 1:
            return hdu
        position = hdu.data_start + -(-hdu.data_bytes // BLOCK) * BLOCK
        if position > MAX_SKIPPED_BYTES:
            break
    raise FitsError(f"no image: none begins in the first {MAX_SKIPPED_BYTES} bytes")


def _is_padding(file: BinaryIO) -> bool:
    """Return whether a file that goes on after its last HDU does so with what tapes were filled up with."""
    return not file.read(BLOCK).strip(b"\0 ")


def _read_hdu(file: BinaryIO, index: int, *, size: int) -> Hdu:
    where = f"HDU {index}"
    header = read_header(file, where=where)
    cards = parse_cards(header)
    first, keywords = "XTENSION" if index else "SIMPLE", list(cards)
    if keywords[:1] != [first]:
        raise FitsError(f"not FITS: the first card of {where} is not {first}")
    if keywords[1:3] != ["BITPIX", "NAXIS"]:
        raise FitsError(f"bad header: BITPIX and NAXIS do not follow {first} in {where}")
    if cards[first] is False:
        raise FitsError("not FITS: SIMPLE = F, the file says itself that it does not conform")
    _check_choice(cards, "BITPIX", BITPIX)
    shape = _shape(cards, "")
    num_elements = math.prod(shape) if shape else 0
    extra, groups = cards.get("PCOUNT", 0), cards.get("GCOUNT", 1)
    _check_integer("PCOUNT", extra, 0, 1 << 40)
    _check_integer("GCOUNT", groups, 1, 1)
    if cards.get("GROUPS") is True:
        raise FitsError("random groups: this old form of FITS is not read")
    data_bytes = abs(cards["BITPIX"]) // 8 * (num_elements + extra)
    hdu = Hdu(index=index, cards=cards, header=header, data_start=file.tell(), data_bytes=data_bytes)
    if hdu.kind == "IMAGE":
        _check_integer("PCOUNT", extra, 0, 0)
        _check_pixels(num_elements)
        _check_scaling(cards)
    elif hdu.kind in ("BINTABLE", "TABLE"):
        _check_table(cards)
    if hdu.is_compressed_image:
        _check_tiles(cards)
    there = size - hdu.data_start
    if data_bytes > there:
        raise FitsError(f"short data: {where} claims {data_bytes} bytes, {there} are there")
    return hdu


def _shape(cards: dict[str, Any], prefix: str) -> tuple[int, ...]:
    num_axes = _check_integer(f"{prefix}NAXIS", cards.get(f"{prefix}NAXIS"), 0, MAX_AXES)
    names = [f"{prefix}NAXIS{axis + 1}" for axis in range(num_axes)]
    return tuple(_check_integer(name, cards.get(name), 0, 1 << 40) for name in names)


def _check_integer(name: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise FitsError(f"bad header: {name} is {value!r:.40}, not a whole number")
    if not low <= value <= high:
        expected = str(low) if low == high else f"{low} to {high}"
        raise FitsError(f"bad header: {name} is {value}, expected {expected}")
    return value


def _check_choice(cards: dict[str, Any], name: str, choices: tuple[Any, ...]) -> None:
    value = cards.get(name)
    if isinstance(value, bool) or value not in choices:
        raise FitsError(f"bad header: {name} is {value!r:.40}, which is none of {', '.join(map(str, choices))}")


def _check_pixels(num_pixels: int) -> None:
    if num_pixels > MAX_PIXELS:
        raise FitsError(f"too many pixels: {num_pixels}, at most {MAX_PIXELS} are read")


def _check_scaling(cards: dict[str, Any], prefix: str = "") -> None:
    for name in (f"{prefix}SCALE", f"{prefix}ZERO") if prefix else ("BSCALE", "BZERO"):
        value = cards.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise FitsError(f"bad header: {name} is {value!r:.40}, not a number")
        if value == 0 and name.endswith("SCALE"):
            raise FitsError(f"bad header: {name} is 0")


def _check_table(cards: dict[str, Any]) -> None:
    _check_integer("NAXIS", cards["NAXIS"], 2, 2)
    _check_integer("BITPIX", cards["BITPIX"], 8, 8)
    _check_integer("TFIELDS", cards.get("TFIELDS"), 0, MAX_FIELDS)


def _check_tiles(cards: dict[str, Any]) -> None:
    _check_choice(cards, "ZCMPTYPE", COMPRESSIONS)
    _check_choice(cards, "ZBITPIX", BITPIX)
    _check_choice(cards, "ZQUANTIZ", _QUANTISATIONS)
    _check_scaling(cards)
    _check_scaling(cards, "Z")
    shape = _shape(cards, "Z")
    if not shape or not all(shape):
        raise FitsError("bad header: the compressed image has no pixels")
    _check_pixels(math.prod(shape))
    num_tiles = tile_pixels = 1
    for axis, length in enumerate(shape):
        name = f"ZTILE{axis + 1}"
        tile = _check_integer(name, cards.get(name, 1 if axis else length), 1, MAX_PIXELS)
        num_tiles *= -(-length // tile)
        tile_pixels *= tile
    _check_pixels(tile_pixels)
    _check_integer("NAXIS2", cards["NAXIS2"], num_tiles, num_tiles)
    for number in range(1, MAX_FIELDS):
        parameter = cards.get(f"ZNAME{number}")
        if parameter is None:
            break
        if parameter in _PARAMETERS:
            _check_choice(cards, f"ZVAL{number}", _PARAMETERS[parameter])
