"""Folders on a disk: temporary names, flush, rename and link.

Files are renamed onto their names, so a reader sees one whole or not at all; receipts are linked, which fails where
one is there.
"""

from __future__ import annotations

import errno
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

from pyarrow.fs import LocalFileSystem

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage.folder import FileStamp, Folder

TEMPORARY_PREFIX = ".writing-"
BUILDING_PREFIX = ".building-"
"""How a folder that is being filled is named; nobody looks into it."""
_counter = itertools.count()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, read piece by piece."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class LocalFolder(Folder):
    """A folder on a disk that every worker sees."""

    path: Path

    def __truediv__(self, name: str) -> LocalFolder:
        return LocalFolder(self.path / name)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.name

    @property
    def parent(self) -> LocalFolder:
        """The folder that it is in."""
        return LocalFolder(self.path.parent)

    def exists(self, name: str = "") -> bool:
        """Tell whether a file or folder of that name is there."""
        return (self.path / name).exists()

    def find_size(self, name: str) -> int | None:
        """Return the size of a file in bytes; None where there is no file of that name."""
        try:
            status = (self.path / name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

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

    def files(self) -> list[str]:
        """Return the names of all files below, whatever they are."""
        return [path.relative_to(self.path).as_posix() for path in self.path.rglob("*") if not path.is_dir()]

    def stamp(self, name: str) -> FileStamp:
        """Return what changes whenever another file takes the name: device, inode, size, time of change."""
        status = (self.path / name).stat()
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a file, read piece by piece."""
        return file_digest(self.path / name)

    def local_copy(self, name: str) -> Path:
        """Return the file's own path."""
        path = self.path / name
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return path

    @property
    def filesystem(self) -> LocalFileSystem:
        """The Arrow filesystem that reads its files."""
        return LocalFileSystem()

    def arrow_path(self, name: str) -> str:
        """Return a file's path in that filesystem."""
        return str(self.path / name)

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

    def append(self, name: str, data: bytes) -> None:
        """Add to the end of a small file, making it where there is none; one writer at a time."""
        with open(self.path / name, "ab") as file:
            file.write(data)

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

    @contextmanager
    def make_folder(self, name: str) -> Iterator[Folder]:
        """Give a folder to fill, under a name that no reader looks at; it is flushed and renamed whole at the end.

        What was there is away for the moment between two renames.
        """
        final = self.path / name
        building = final.parent / f"{BUILDING_PREFIX}{final.name}"
        yield LocalFolder(building)
        flush_tree(building)
        if final.exists():
            os.rename(final, f"{building}-damaged")
        os.rename(building, final)
        flush_folder(final.parent)

    def sweep_folders(self, name: str) -> None:
        """Delete the folders that killed makers left half filled, and those that have made way for others."""
        for leftover in (self.path / name).glob(f"{BUILDING_PREFIX}*"):
            leftover.unlink() if leftover.is_file() else shutil.rmtree(leftover)

    def can_point(self, name: str) -> bool:
        """Tell whether nothing is there, or a symbolic link."""
        place = self.path / name
        return place.is_symlink() or not place.exists()

    def point(self, name: str, target: str) -> None:
        """Make ``name`` a symbolic link to ``target``, relative to the folder, replacing an older link in one step."""
        temporary = self.path / f"{TEMPORARY_PREFIX}{os.getpid()}-{name}"
        temporary.unlink(missing_ok=True)
        os.symlink(target, temporary)
        os.replace(temporary, self.path / name)
        flush_folder(self.path)

    def resolved(self) -> LocalFolder:
        """Return the folder itself, all links followed."""
        return LocalFolder(self.path.resolve())

    def on_this_machine(self, name: str) -> LocalFolder:
        """Return a folder in this one: the disk is there already."""
        return self / name

    def free_bytes(self) -> int:
        """Return how much room is on the disk where the folder is, or is to be."""
        return shutil.disk_usage(next(path for path in (self.path, *self.path.parents) if path.is_dir())).free

    def check(self) -> None:
        """Raise InputError where a file is in the place of the folder, or of one that it is in."""
        for parent in (self.path, *self.path.parents):
            if parent.exists():
                if not parent.is_dir():
                    raise InputError(f"{self.path} cannot be a folder: {parent} is a file; name another folder")
                break

    def _temporary_path(self, name: str) -> Path:
        final = self.path / name
        final.parent.mkdir(parents=True, exist_ok=True)
        unique = f"{socket.gethostname()}-{os.getpid()}-{next(_counter)}"
        return final.parent / f"{TEMPORARY_PREFIX}{unique}-{final.name}"


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
