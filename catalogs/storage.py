"""The one seam to storage: whole files or none, and a first writer that wins.

Every file skymetal writes passes through :class:`Folder`. A reader sees a file whole or not at all; of two
writers of one receipt the first wins; what is written has reached the disk before anybody is told.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from skymetal.catalogs.errors import InputError

TEMPORARY_PREFIX = ".writing-"
FileStamp = tuple[int, int, int, int]
_counter = itertools.count()


def digest(data: bytes) -> str:
    """Return the SHA-256 of ``data`` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, read piece by piece."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_stamp(path: Path) -> FileStamp:
    """Return what changes whenever another file takes the name: device, inode, size, time of change."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(frozen=True)
class Folder:
    """A folder on a disk that every worker sees. Names inside it are relative, with forward slashes."""

    path: Path

    def __truediv__(self, name: str) -> Folder:
        return Folder(self.path / name)

    def __str__(self) -> str:
        return str(self.path)

    def exists(self, name: str = "") -> bool:
        """Tell whether a file or folder of that name is there."""
        return (self.path / name).exists()

    def size(self, name: str) -> int:
        """Return the size of a file in bytes."""
        return (self.path / name).stat().st_size

    def read(self, name: str, *, max_bytes: int | None = None) -> bytes:
        """Return a whole file.

        Raises FileNotFoundError where there is none, OSError for what is no regular file (a pipe would never end)
        or is larger than max_bytes.
        """
        descriptor = os.open(self.path / name, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(f"{name} is not a regular file")
            if max_bytes is not None and status.st_size > max_bytes:
                raise OSError(f"{name} has {status.st_size} bytes, at most {max_bytes} are expected")
            return file.read()

    def names(self, pattern: str) -> list[str]:
        """Return the sorted names of the finished files that match a glob pattern."""
        found = (p for p in self.path.glob(pattern) if not p.name.startswith(TEMPORARY_PREFIX))
        return sorted(p.relative_to(self.path).as_posix() for p in found)

    def write(self, name: str, data: bytes, *, flush: bool = True) -> None:
        """Write a file whole, replacing any older one in one step; without flush it may be lost with the machine."""
        with self.open_new(name, flush=flush) as file:
            file.write(data)

    @contextmanager
    def open_new(self, name: str, *, flush: bool = True) -> Iterator[BinaryIO]:
        """Give a file to write piece by piece; it takes its name, whole, when the block ends without an error."""
        temporary = self._temporary_path(name)
        try:
            with open(temporary, "xb") as file:
                yield file
                file.flush()
                if flush:
                    os.fsync(file.fileno())
            os.replace(temporary, self.path / name)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            raise _named(error, self.path / name) from error
        if flush:
            flush_folder((self.path / name).parent)

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Write a file whole unless one is there; return whether this call made it."""
        temporary = self._temporary_path(name)
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, self.path / name)
        except FileExistsError:
            return False
        except OSError as error:
            raise _named(error, self.path / name) from error
        finally:
            temporary.unlink(missing_ok=True)
        flush_folder((self.path / name).parent)
        return True

    def mark(self, name: str) -> None:
        """Make an empty file without waiting for the disk: a note that may be lost with the machine."""
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        open(self.path / name, "xb").close()

    def remove(self, name: str) -> None:
        """Delete a file; it need not be there."""
        (self.path / name).unlink(missing_ok=True)

    def remove_folder(self, name: str) -> None:
        """Delete a folder and what is in it; it need not be there."""
        shutil.rmtree(self.path / name, ignore_errors=True)

    def sweep(self) -> int:
        """Delete what killed writers left half written; return how many files that was.

        Only for a caller that holds the run's lock: a live writer's file would be swept too.
        """
        leftovers = list(self.path.rglob(f"{TEMPORARY_PREFIX}*"))
        for path in leftovers:
            path.unlink(missing_ok=True)
        return len(leftovers)

    def _temporary_path(self, name: str) -> Path:
        final = self.path / name
        final.parent.mkdir(parents=True, exist_ok=True)
        unique = f"{socket.gethostname()}-{os.getpid()}-{next(_counter)}"
        return final.parent / f"{TEMPORARY_PREFIX}{unique}-{final.name}"


def open_folder(location: str | Path) -> Folder:
    """Return the folder a user named; it need not exist yet.

    Raises InputError for a URL, which this version cannot write, and for a path through a file.
    """
    if "://" in str(location):
        raise InputError(
            f"{location} is a URL; this version reads and writes local paths only: give a path on shared disk"
        )
    path = Path(location).expanduser().absolute()
    for parent in (path, *path.parents):
        if parent.exists():
            if not parent.is_dir():
                raise InputError(f"{path} cannot be a folder: {parent} is a file; name another folder")
            break
    return Folder(path)


def commit_receipt(folder: Folder, name: str, receipt: bytes) -> None:
    """Record that a piece of work is done: the first receipt wins, an equal second is the same fact.

    Raises RuntimeError when a different receipt is there: two runs disagree, and neither may be believed.
    """
    if not folder.put_if_absent(name, receipt) and folder.read(name) != receipt:
        raise RuntimeError(f"{folder}/{name}: another worker committed a different result for the same work")


def _named(error: BaseException, path: Path) -> BaseException:
    """Return an error that says which file: a full disk is told of by number alone."""
    is_unnamed = isinstance(error, OSError) and error.errno is not None and not error.filename
    return OSError(error.errno, error.strerror, str(path)) if is_unnamed else error  # type: ignore[attr-defined]


def flush_tree(path: Path) -> None:
    """Make sure that every file and name below a folder is on the disk."""
    for folder, _, names in os.walk(path):
        for name in names:
            flush_folder(Path(folder) / name)
        flush_folder(Path(folder))


def flush_folder(path: Path) -> None:
    """Make sure that the names in a folder, or a file, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
