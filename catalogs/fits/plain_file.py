"""Reading files that may be compressed as a whole, by gzip or bzip2, without trusting how far they unfold."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, cast

from skymetal.catalogs.errors import first_line
from skymetal.catalogs.fits.cards import FitsError

MAX_BYTES = 1 << 30
MAX_RATIO = 200
"""More than a bomb needs a file to unfold to less: real images reach 3, a blank one of 64 MiB may reach 1,000."""
FREE_BYTES = 64 << 20
_CHUNK = 1 << 20
_GZIP = b"\x1f\x8b"
_BZIP2 = b"BZh"
_DAMAGE = (OSError, EOFError, zlib.error)


def open_plain(path: Path, *, max_bytes: int = MAX_BYTES, into: BinaryIO | None = None) -> BinaryIO:
    """Open a regular file for reading; one that is gzip or bzip2, by its first bytes, is unfolded once.

    The unfolded bytes go ``into`` a file of the caller's, or to memory. Raises FitsError for what is no regular
    file, is damaged, or unfolds to more than max_bytes or, beyond 64 MiB, to 200 times its size; OSError as open.
    """
    file = _open_regular(path)
    packed = _unpacker(file)
    if packed is None:
        return file
    limit = min(max_bytes, max(FREE_BYTES, MAX_RATIO * file_size(file)))
    with file, packed:
        return _unfold(packed, into if into is not None else io.BytesIO(), limit=limit)


@contextmanager
def open_stream(path: Path) -> Iterator[BinaryIO]:
    """Open as :func:`open_plain` does, but unfold only what is read: enough for the first header.

    Damage that is met raises FitsError at the end of the ``with`` block.
    """
    with _open_regular(path) as file, _unpacker(file) or nullcontext(file) as stream:
        try:
            yield cast(BinaryIO, stream)
        except _DAMAGE as error:
            raise _damaged(error) from error


def file_size(file: BinaryIO) -> int:
    """Return the size of an open file in bytes, and go to its start."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


def _open_regular(path: Path) -> BinaryIO:
    # A pipe would keep an ordinary open waiting for ever.
    file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115  the caller's to close
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise FitsError("not a regular file")
    return file


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _unpacker(file: BinaryIO) -> gzip.GzipFile | bz2.BZ2File | None:
    magic = file.read(len(_BZIP2))
    file.seek(0)
    if magic.startswith(_GZIP):
        return gzip.GzipFile(fileobj=file)
    return bz2.BZ2File(file) if magic.startswith(_BZIP2) else None


def _unfold(packed: gzip.GzipFile | bz2.BZ2File, plain: BinaryIO, *, limit: int) -> BinaryIO:
    num_bytes = 0
    try:
        while chunk := packed.read(_CHUNK):
            num_bytes += len(chunk)
            if num_bytes > limit:
                raise FitsError(f"unfolds too far: to more than {limit} bytes")
            plain.write(chunk)
    except _DAMAGE as error:
        raise _damaged(error) from error
    plain.seek(0)
    return plain


def _damaged(error: Exception) -> FitsError:
    return FitsError(f"damaged compression: {first_line(error).lower()}")
