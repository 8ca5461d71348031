"""Folders in a bucket, where nothing is renamed: an object is there whole or not at all.

A PUT is one step for every reader, so no temporary names are needed, and what was answered is safe, so nothing is
flushed. The first of two writers wins by ``If-None-Match: *``. Where the answer of such a PUT is lost and the client's
second try is told that an object is there, the writer's own mark on the object says whose it is. Tried with S3.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import urlsplit

from pyarrow.fs import PyFileSystem

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import copies
from skymetal.catalogs.storage.arrow import ObjectReader
from skymetal.catalogs.storage.bucket import Bucket
from skymetal.catalogs.storage.folder import FileStamp, Folder
from skymetal.catalogs.storage.globs import glob_to_regex, literal_start
from skymetal.catalogs.storage.local import LocalFolder

CURRENT = "CURRENT"
"""The object that is a pointer: in the folder of the pointer's name, it holds the name of the folder pointed to."""
SPOOLED_BYTES = 64 << 20
"""What is written piece by piece waits in memory up to so much, then on this machine's disk."""


@dataclass(frozen=True)
class ObjectFolder(Folder):
    """A folder in a bucket: the objects whose keys begin with ``prefix`` and a slash."""

    bucket: Bucket
    prefix: str = ""

    @classmethod
    def of_url(cls, url: str) -> ObjectFolder:
        """Return the folder of a URL ``s3://bucket/path``; raise InputError for another kind."""
        shown = re.sub(r"//.*@", "//…@", url)  # a secret key may have slashes
        parts = urlsplit(url)
        if parts.scheme != "s3":
            raise InputError(f"{shown}: only s3:// URLs and local paths can be folders; give one of these")
        if "@" in parts.netloc or ":" in parts.netloc:
            raise InputError(
                f"{shown} holds a user, password or port, which a URL in a job file must not: give s3://bucket/path, "
                "the credentials in the environment and the store's address in AWS_ENDPOINT_URL"
            )
        steps = parts.path.strip("/").split("/") if parts.path.strip("/") else []
        is_plain = parts.netloc and not parts.query and not parts.fragment and url.isprintable()
        if not is_plain or any(step in ("", ".", "..") for step in steps):
            raise InputError(f"{shown} is not s3://bucket/path with a bucket, and steps that are names; mend it")
        return cls(Bucket(parts.netloc), "/".join(steps))

    def __truediv__(self, name: str) -> ObjectFolder:
        return ObjectFolder(self.bucket, self._key(name))

    def __str__(self) -> str:
        return self.bucket.url(self.prefix)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.prefix.rpartition("/")[2]

    @property
    def parent(self) -> ObjectFolder:
        """The folder that it is in."""
        return ObjectFolder(self.bucket, self.prefix.rpartition("/")[0])

    def exists(self, name: str = "") -> bool:
        """Tell whether there is an object of that name, or any below it."""
        return (bool(name) and self.find_size(name) is not None) or bool(self.bucket.list(self._key(name), most=1))

    def find_size(self, name: str) -> int | None:
        """Return the size of an object in bytes; None where there is none."""
        return _find_size(self.bucket, self._key(name))

    def read(self, name: str, *, max_bytes: int | None = None) -> bytes:
        """Return a whole object; raise FileNotFoundError where there is none, OSError where it is too large."""
        return self.bucket.get(self._key(name), max_bytes=max_bytes)

    def names(self, pattern: str) -> list[str]:
        """Return the sorted names of the objects that match a glob pattern."""
        wanted = glob_to_regex(pattern)
        found = self._relative(self._key(literal_start(pattern)))
        return sorted(name for name in found if wanted.fullmatch(name))

    def files(self) -> list[str]:
        """Return the names of all objects below."""
        return self._relative(self.prefix)

    def stamp(self, name: str) -> FileStamp:
        """Return what changes with an object's bytes: its entity tag and size."""
        head = self.bucket.head(self._key(name))
        return head["e_tag"], head["size"]

    def digest(self, name: str) -> str:
        """Return the SHA-256 of an object, read piece by piece."""
        return self.bucket.get_pieces(self._key(name), _digest)

    def local_copy(self, name: str) -> Path:
        """Return a copy on this machine's disk, made once for all processes and for as long as the object stays."""
        stamp = self.stamp(name)
        return self.bucket.get_pieces(self._key(name), lambda pieces: copies.keep(f"{self}/{name}", stamp, pieces))

    @property
    def filesystem(self) -> PyFileSystem:
        """The Arrow filesystem that reads objects by ranges."""
        bucket = self.bucket
        return PyFileSystem(ObjectReader(bucket.url(""), lambda key: _find_size(bucket, key), bucket.get_range))

    def arrow_path(self, name: str) -> str:
        """Return an object's path in that filesystem."""
        return self._key(name)

    def write(self, name: str, data: bytes, *, flush: bool = True) -> None:
        """Write an object whole, replacing any older one in one step; it is safe once this returns."""
        self.bucket.put(self._key(name), data)

    @contextmanager
    def open_new(self, name: str, *, flush: bool = True) -> Iterator[BinaryIO]:
        """Give a file to write piece by piece; it is uploaded, whole, when the block ends without an error."""
        with tempfile.SpooledTemporaryFile(SPOOLED_BYTES, prefix="skymetal-") as spooled:
            file = cast(BinaryIO, spooled)
            yield file
            self.bucket.put(self._key(name), file)

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Write an object unless one is there; return whether this call made it."""
        return self.bucket.create(self._key(name), data)

    def append(self, name: str, data: bytes) -> None:
        """Add to the end of a small object by writing it anew; one writer at a time."""
        try:
            before = self.read(name)
        except FileNotFoundError:
            before = b""
        self.write(name, before + data)

    def mark(self, name: str) -> None:
        """Make an empty object; raise FileExistsError where there is one."""
        if not self.put_if_absent(name, b""):
            raise FileExistsError(f"{self}/{name} is there")

    def remove(self, name: str) -> None:
        """Delete an object; it need not be there."""
        self.bucket.delete([self._key(name)])

    def remove_folder(self, name: str) -> None:
        """Delete all objects below; there need be none."""
        self.bucket.delete(self.bucket.list(self._key(name)))

    def sweep(self) -> int:
        """Delete nothing: a killed writer leaves no half object that could be seen."""
        return 0

    @contextmanager
    def make_folder(self, name: str) -> Iterator[Folder]:
        """Give the folder itself, emptied: no reader looks into it before its own last file is there."""
        self.remove_folder(name)
        yield self / name

    def sweep_folders(self, name: str) -> None:
        """Delete nothing: a folder is filled under its own name, and emptied first."""

    def can_point(self, name: str) -> bool:
        """Tell that it may: a pointer is an object of its own."""
        return True

    def point(self, name: str, target: str) -> None:
        """Make ``name`` a pointer to the folder ``target``, replacing an older one in one step."""
        self.write(f"{name}/{CURRENT}", target.encode())

    def resolved(self) -> ObjectFolder:
        """Return the folder that a pointer points to now; this one where it is no pointer."""
        try:
            return self.parent / self.read(CURRENT, max_bytes=1024).decode()
        except FileNotFoundError:
            return self

    def on_this_machine(self, name: str) -> LocalFolder:
        """Return a folder on this machine's disk that belongs to this URL."""
        return LocalFolder(copies.place_of(str(self)) / name)

    def free_bytes(self) -> None:
        """Return None: a bucket has no end."""

    def check(self) -> None:
        """Raise InputError where the bucket cannot be reached or looked into; asked once, with little patience."""
        self.bucket.check(self.prefix)

    def _key(self, name: str) -> str:
        return "/".join(part for part in (self.prefix, name) if part)

    def _relative(self, prefix: str) -> list[str]:
        start = len(self.prefix) + 1 if self.prefix else 0
        return [key[start:] for key in self.bucket.list(prefix)]


def _find_size(bucket: Bucket, key: str) -> int | None:
    try:
        return int(bucket.head(key)["size"])
    except FileNotFoundError:
        return None


def _digest(pieces: Iterator[bytes]) -> str:
    result = hashlib.sha256()
    for piece in pieces:
        result.update(piece)
    return result.hexdigest()
