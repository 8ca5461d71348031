"""One JPEG or PNG file, from anywhere: read, judged, decoded, cut to size. No byte of it is trusted.

What Pillow lets pass is refused here: files that were cut short or have something behind their end, 16-bit PNG that
would be reduced silently, PNG whose checksums are wrong. Metadata are not read, so that an EXIF orientation has no
effect: the pixels are as stored, which is how surveys write north, and how numpy and the viewers of FITS see them.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from skymetal.catalogs.errors import first_line, printable

MAX_BYTES = 64 << 20
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_MODES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
_DECODING_ERRORS = (OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, struct.error)
_MACHINE_ERRORS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class Unsuitable(Exception):
    """An image that cannot be used; the text is the reason, as it stands in the list of quarantined galaxies."""


def read_regular_file(path: str | Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the bytes of a regular file; a pipe or a device, which might never end, is not waited for.

    Raises Unsuitable where there is none, or it is larger than max_bytes or cannot be read. That this machine has
    no memory or file handles left is not the file's fault, and raises OSError.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise Unsuitable("not a regular file")
            if status.st_size > max_bytes:
                raise Unsuitable(f"file too large: {status.st_size} bytes, at most {max_bytes} are read")
            data = os.read(handle, status.st_size)
            while len(data) < status.st_size and (more := os.read(handle, status.st_size - len(data))):
                data += more
            return data
        finally:
            os.close(handle)
    except (FileNotFoundError, NotADirectoryError):
        raise Unsuitable("no such file") from None
    except OSError as error:
        if error.errno in _MACHINE_ERRORS:
            raise
        if error.errno == errno.ENXIO:  # a socket
            raise Unsuitable("not a regular file") from None
        raise Unsuitable(f"unreadable file: {error.strerror}") from error


def decode_picture(
    data: bytes,
    *,
    formats: tuple[str, ...] = ("JPEG", "PNG"),
    input_size_pix: int,
    crop_pix: int,
    size_pix: int,
) -> NDArray[np.uint8]:
    """Return the middle crop_pix of a square RGB picture on size_pix pixels: (H, W, 3), read-only.

    Raises Unsuitable, with the reason, for anything but a whole picture of input_size_pix in one of the formats.
    Nothing is allocated for pixels before the header's size was found to be right.
    """
    if data.startswith(_JPEG_START) and "JPEG" in formats:
        image = _open_jpeg(data, input_size_pix)
    elif data.startswith(_PNG_START) and "PNG" in formats:
        image = _open_png(data, input_size_pix)
    else:
        raise Unsuitable(f"not a {' or '.join(formats)} image")
    try:
        return crop_picture(image, crop_pix=crop_pix, size_pix=size_pix)
    except _DECODING_ERRORS as error:
        raise _unreadable(error) from error


def crop_picture(image: Image.Image, *, crop_pix: int, size_pix: int) -> NDArray[np.uint8]:
    """Return the middle crop_pix of a picture, averaged down (or resampled up) to size_pix: (H, W, 3)."""
    if crop_pix == size_pix == image.width == image.height:
        return np.asarray(image)
    left, top = (image.width - crop_pix) / 2, (image.height - crop_pix) / 2
    box = (left, top, left + crop_pix, top + crop_pix)
    return np.asarray(image.resize((size_pix, size_pix), Image.Resampling.BOX, box=box))


class _Jpeg(JpegImageFile):
    """A JPEG whose EXIF is left alone: Pillow looks there for dots per inch, and warns of what others wrote."""

    def _read_dpi_from_exif(self) -> None:
        return


def _open_jpeg(data: bytes, input_size_pix: int) -> Image.Image:
    try:
        image = _Jpeg(BytesIO(data))
        start_of_scan = image.fp.tell() if image.fp else 0
    except _DECODING_ERRORS as error:
        if _JPEG_END not in data:
            raise Unsuitable(f"truncated: the file ends after {len(data)} bytes, within its header") from error
        raise _unreadable(error) from error
    _check_size(image.size, input_size_pix)
    if image.mode != "RGB":
        raise Unsuitable(f"wrong mode: {image.mode}, expected RGB")
    # In compressed data 0xFF is always followed by 0 or a restart marker, so that the first end marker is the end.
    end = data.find(_JPEG_END, start_of_scan) + len(_JPEG_END)
    if end < start_of_scan:
        raise Unsuitable(f"truncated: the file ends after {len(data)} bytes, before the image does")
    _check_end(end, len(data))
    return image


def _open_png(data: bytes, input_size_pix: int) -> Image.Image:
    if len(data) < 33:
        raise Unsuitable(f"truncated: the file ends after {len(data)} bytes, within its header")
    length, kind, width, height, num_bits, colour = struct.unpack_from(">I4sIIBB", data, len(_PNG_START))
    if kind != b"IHDR" or length != 13:
        raise Unsuitable("unreadable image: a PNG that does not begin with its header")
    _check_size((width, height), input_size_pix)
    if (num_bits, _PNG_MODES.get(colour)) != (8, "RGB"):
        raise Unsuitable(f"wrong mode: {_PNG_MODES.get(colour, colour)} of {num_bits} bits, expected RGB of 8 bits")
    _check_chunks(data)
    try:
        return PngImageFile(BytesIO(data))
    except _DECODING_ERRORS as error:
        raise _unreadable(error) from error


def _check_chunks(data: bytes) -> None:
    """Raise Unsuitable unless a PNG is whole. Pillow skips the checksums of the pixels' chunks."""
    view, start, kind = memoryview(data), len(_PNG_START), b""
    while kind != b"IEND":
        if start + 12 > len(data):
            raise Unsuitable(f"truncated: the file ends after {len(data)} bytes, before the image does")
        length, kind = struct.unpack_from(">I4s", data, start)
        stop = start + 12 + length
        if stop > len(data):
            raise Unsuitable(f"truncated: the file ends after {len(data)} bytes, before the image does")
        if zlib.crc32(view[start + 4 : stop - 4]) != int.from_bytes(view[stop - 4 : stop], "big"):
            raise Unsuitable("damaged: a checksum of the PNG does not match")
        if kind == b"acTL":
            raise Unsuitable("wrong mode: an animated PNG, expected one picture")
        start = stop
    _check_end(start, len(data))


def _check_size(size: tuple[int, int], input_size_pix: int) -> None:
    if size != (input_size_pix, input_size_pix):
        raise Unsuitable(f"wrong size: {size[0]}×{size[1]} pixels, expected {input_size_pix}×{input_size_pix}")


def _check_end(end: int, num_bytes: int) -> None:
    if end != num_bytes:
        raise Unsuitable(f"trailing bytes: {num_bytes - end} after the end of the image")


def _unreadable(error: BaseException) -> Unsuitable:
    words = printable(first_line(error))
    return Unsuitable(f"{'truncated' if 'truncated' in words.lower() else 'unreadable image'}: {words}")
