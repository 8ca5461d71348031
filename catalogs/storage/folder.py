"""What a folder is to the rest of skymetal, wherever it lies."""

from __future__ import annotations

import errno
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Hashable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

if TYPE_CHECKING:
    from skymetal.catalogs.storage.local import LocalFolder

FileStamp = tuple[Hashable, ...]
"""What changes whenever another file takes the name."""


def digest(data: bytes) -> str:
    """Return the SHA-256 of ``data`` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


class Folder(ABC):
    """A folder that every worker sees. Names inside it are relative, with forward slashes. It need not exist yet.

    A value that travels: two that name the same place are equal, and nothing is open in it.
    """

    @abstractmethod
    def __truediv__(self, name: str) -> Folder:
        """Return the folder of that name in this one."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The last part of its path."""

    @property
    @abstractmethod
    def parent(self) -> Folder:
        """The folder that it is in."""

    @abstractmethod
    def exists(self, name: str = "") -> bool:
        """Tell whether a file or folder of that name is there."""

    @abstractmethod
    def find_size(self, name: str) -> int | None:
        """Return the size of a file in bytes; None where there is no file of that name."""

    def size(self, name: str) -> int:
        """Return the size of a file in bytes; raise FileNotFoundError where there is none."""
        size = self.find_size(name)
        if size is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{self}/{name}")
        return size

    @abstractmethod
    def read(self, name: str, *, max_bytes: int | None = None) -> bytes:
        """Return a whole file.

        Raises FileNotFoundError where there is none, OSError for what is no regular file or is larger than max_bytes.
        """

    @abstractmethod
    def names(self, pattern: str) -> list[str]:
        """Return the sorted names of the finished files that match a glob pattern."""

    @abstractmethod
    def files(self) -> list[str]:
        """Return the names of all files below, whatever they are."""

    @abstractmethod
    def stamp(self, name: str) -> FileStamp:
        """Return what changes whenever another file takes the name; FileNotFoundError where there is none."""

    @abstractmethod
    def digest(self, name: str) -> str:
        """Return the SHA-256 of a file, read piece by piece."""

    @abstractmethod
    def local_copy(self, name: str) -> Path:
        """Return a path on this machine with the file's bytes, for what can only map or open a path; not to be changed.

        Raises FileNotFoundError where there is no such file.
        """

    @property
    @abstractmethod
    def filesystem(self) -> Any:
        """The Arrow filesystem that reads its files, in pieces where a reader wants only pieces."""

    @abstractmethod
    def arrow_path(self, name: str) -> str:
        """Return a file's path in that filesystem."""

    @abstractmethod
    def write(self, name: str, data: bytes, *, flush: bool = True) -> None:
        """Write a file whole, replacing any older one in one step; without flush it may be lost with the machine."""

    @abstractmethod
    def open_new(self, name: str, *, flush: bool = True) -> AbstractContextManager[BinaryIO]:
        """Give a file to write piece by piece; it takes its name, whole, when the block ends without an error."""

    @abstractmethod
    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Write a file whole unless one is there; return whether this call made it."""

    @abstractmethod
    def append(self, name: str, data: bytes) -> None:
        """Add to the end of a small file, making it where there is none; one writer at a time."""

    @abstractmethod
    def mark(self, name: str) -> None:
        """Make an empty file: a note that may be lost with the machine. Raises FileExistsError where there is one."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Delete a file; it need not be there."""

    @abstractmethod
    def remove_folder(self, name: str) -> None:
        """Delete a folder and what is in it; it need not be there."""

    @abstractmethod
    def sweep(self) -> int:
        """Delete what killed writers left half written; return how many files that was.

        Only for a caller that holds the run's lock: a live writer's file would be swept too.
        """

    @abstractmethod
    def make_folder(self, name: str) -> AbstractContextManager[Folder]:
        """Give a folder to fill, whose files need not be flushed; it takes the name when the block ends.

        What was there under that name makes way for it.
        """

    @abstractmethod
    def sweep_folders(self, name: str) -> None:
        """Delete what :meth:`make_folder` left half filled in a folder; for a caller that holds the run's lock."""

    @abstractmethod
    def can_point(self, name: str) -> bool:
        """Tell whether :meth:`point` may use the name: nothing is there, or a pointer."""

    @abstractmethod
    def point(self, name: str, target: str) -> None:
        """Make ``name`` a pointer to the folder ``target``, replacing an older one in one step."""

    @abstractmethod
    def resolved(self) -> Folder:
        """Return the folder that a pointer points to now; this one where it is no pointer."""

    @abstractmethod
    def on_this_machine(self, name: str) -> LocalFolder:
        """Return a folder on this machine's disk for what no other machine needs: half-done work, logs.

        The same each time, so that what was begun there can be gone on with.
        """

    @abstractmethod
    def free_bytes(self) -> int | None:
        """Return how much room there is; None where there is no end to it that could be known."""

    @abstractmethod
    def check(self) -> None:
        """Raise InputError where the place cannot be a folder, or cannot be reached."""


Location: TypeAlias = Folder | str | Path
"""A folder, or the path or URL of one."""


def commit_receipt(folder: Folder, name: str, receipt: bytes) -> None:
    """Record that a piece of work is done: the first receipt wins, an equal second is the same fact.

    Raises RuntimeError when a different receipt is there: two runs disagree, and neither may be believed.
    """
    if not folder.put_if_absent(name, receipt) and folder.read(name) != receipt:
        raise RuntimeError(f"{folder}/{name}: another worker committed a different result for the same work")
