"""Files in an uncompressed tar archive, read where they lie. Nothing is ever extracted.

The standard library's tarfile keeps a kilobyte in memory for every member and believes any length that a header
claims; a survey's archive has millions of members. Here the index is 16 bytes a member, and made once a process.
Formats: v7, ustar, GNU (long names) and pax (path, size), which is what tar and Python write.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError, first_line, printable
from skymetal.engine.sources.pictures import MAX_BYTES, Unsuitable

BLOCK = 512
MAX_EXTENDED_BYTES = 1 << 20
_REGULAR = (b"0", b"\0", b"7")
_PAX, _GNU_NAME = b"x", b"L"
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK": "zip"}
_PAX_RECORD = re.compile(rb"([0-9]{1,7}) ([^=\n]+)=")
_INDEXING = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class TarArchive:
    """An open archive: names as bytes, without a leading ``./``."""

    handle: int
    keys_N: NDArray[np.uint64]
    start_N: NDArray[np.int64]
    end: str

    def __contains__(self, name: str) -> bool:
        return len(self._starts(name)) > 0

    def first_name(self) -> str:
        """Return the name of the first regular file, or '' where there is none."""
        if not len(self.start_N):
            return ""
        member = _member(self.handle, int(self.start_N.min()))
        return printable(member.name.decode(errors="replace"))

    def read(self, name: str) -> bytes:
        """Return a member's bytes; raise Unsuitable, with the reason, where there are none to be relied on."""
        starts = self._starts(name)
        if not len(starts):
            raise Unsuitable(f"no such file{self.end}")
        if len(starts) > 1:
            raise Unsuitable(f"repeated name: {len(starts)} files of the archive have it")
        try:
            member = _member(self.handle, int(starts[0]))
            if member.name != name.encode():
                raise Unsuitable(f"no such file{self.end}")
            if member.num_bytes > MAX_BYTES:
                raise Unsuitable(f"file too large: {member.num_bytes} bytes, at most {MAX_BYTES} are read")
            data = os.pread(self.handle, member.num_bytes, member.data_start)
        except (ValueError, EOFError, OSError) as error:
            raise Unsuitable(f"unreadable file: {first_line(error)}") from error
        if len(data) < member.num_bytes:
            raise Unsuitable(f"truncated: the archive ends after {len(data)} of {member.num_bytes} bytes")
        return data

    def _starts(self, name: str) -> NDArray[np.int64]:
        key = _key(name.encode())
        first, last = (np.searchsorted(self.keys_N, np.uint64(key), side) for side in ("left", "right"))
        return self.start_N[first:last]


@contextmanager
def open_tar(path: str) -> Iterator[TarArchive]:
    """Open an archive; raise InputError where it is none, or a compressed one."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"[images] folder {path} is neither a folder nor a file; name a folder or a tar archive")
        _check_start(path, os.pread(handle, BLOCK, 0))
        with _INDEXING:  # the threads of a worker wait for one index instead of making one each
            keys_N, start_N, end = _index(path, status.st_ino, status.st_mtime_ns, status.st_size)
        yield TarArchive(handle=handle, keys_N=keys_N, start_N=start_N, end=end)
    finally:
        os.close(handle)


def _check_start(path: str, start: bytes) -> None:
    for magic, kind in _COMPRESSED.items():
        if start.startswith(magic):
            raise InputError(
                f"[images] folder {path} is compressed by {kind}, so that single images cannot be read from it; "
                "unpack it, and name the folder or the plain .tar"
            )
    if start and start != bytes(BLOCK):
        try:
            _check_header(start)
        except ValueError:
            raise InputError(
                f"[images] folder {path} is a file, but not a tar archive; name a folder or a .tar"
            ) from None


@lru_cache(maxsize=4)
def _index(path: str, inode: int, mtime_ns: int, num_bytes: int) -> tuple[NDArray[np.uint64], NDArray[np.int64], str]:
    """Return (keys, starts) of all regular files, sorted by key, and how the archive ends if not as it should."""
    keys, starts = array("Q"), array("q")
    end, position = ": the archive was cut short, perhaps before it", 0
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while position + BLOCK <= num_bytes:
            try:
                member = _member(handle, position)
            except EOFError:
                end = ""
                break
            except ValueError as error:
                end = f": the archive cannot be read from byte {position} on, which holds {error}"
                break
            if member.is_regular:
                keys.append(_key(member.name))
                starts.append(position)
            position = member.stop
    finally:
        os.close(handle)
    keys_N, start_N = np.array(keys, np.uint64), np.array(starts, np.int64)
    order_N = np.argsort(keys_N, kind="stable")
    return keys_N[order_N], start_N[order_N], end


def _key(name: bytes) -> int:
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "little")


@dataclass(frozen=True, kw_only=True)
class _Member:
    name: bytes
    is_regular: bool
    data_start: int
    num_bytes: int
    stop: int


def _member(handle: int, position: int) -> _Member:
    """Return the member whose headers begin at position. Raises EOFError at the end, ValueError where damaged."""
    name, num_bytes = None, None
    while True:
        header = os.pread(handle, BLOCK, position)
        if header == bytes(BLOCK):
            raise EOFError
        _check_header(header)
        kind, length = header[156:157], _number(header[124:136])
        position += BLOCK
        if kind not in (_PAX, _GNU_NAME):
            break
        if not 0 <= length <= MAX_EXTENDED_BYTES:
            raise ValueError(f"an extended header of {length} bytes")
        extension = os.pread(handle, length, position)
        position += _padded(length)
        if kind == _GNU_NAME:
            name = extension.split(b"\0", 1)[0]
        else:
            records = _pax_records(extension)
            name = records.get(b"path", name)
            num_bytes = int(records[b"size"][:20]) if b"size" in records else None
    if name is None:
        name, prefix = header[:100].split(b"\0", 1)[0], header[345:500].split(b"\0", 1)[0]
        if prefix and header[257:263] == b"ustar\0":
            name = prefix + b"/" + name
    num_bytes = length if num_bytes is None else num_bytes
    if not 0 <= num_bytes < 1 << 62:
        raise ValueError(f"a file of {num_bytes} bytes")
    is_regular = kind in _REGULAR and not name.endswith(b"/")
    has_data = kind not in (b"1", b"2", b"3", b"4", b"5", b"6")
    return _Member(
        name=name.removeprefix(b"./"),
        is_regular=is_regular,
        data_start=position,
        num_bytes=num_bytes,
        stop=position + (_padded(num_bytes) if has_data else 0),
    )


def _check_header(header: bytes) -> None:
    if len(header) < BLOCK:
        raise ValueError("a header that is cut short")
    claimed = _number(header[148:156])
    if claimed != sum(header) - sum(header[148:156]) + 8 * ord(" "):
        raise ValueError("a header whose checksum does not match")


def _number(field: bytes) -> int:
    """Return an octal number, or a binary one where GNU tar had no room for the digits."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.split(b"\0", 1)[0].strip() or b"0", 8)
    except ValueError:
        raise ValueError("a header with no number where one should be") from None


def _pax_records(extension: bytes) -> dict[bytes, bytes]:
    """Return the records, each ``length key=value newline``, of an extended header."""
    records, start = {}, 0
    while start < len(extension) and extension[start]:
        match = _PAX_RECORD.match(extension, start)
        stop = start + int(match[1]) if match else 0
        if not match or not match.end() < stop <= len(extension):
            raise ValueError("an extended header that makes no sense")
        records[match[2]] = extension[match.end() : stop - 1]
        start = stop
    if not records.get(b"size", b"0").isdigit():
        raise ValueError("an extended header with a size that is no number")
    return records


def _padded(length: int) -> int:
    return -(-length // BLOCK) * BLOCK
