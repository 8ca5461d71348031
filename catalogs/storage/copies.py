"""Files on this machine's disk that can be had again: copies of what is in a bucket, and what was dear to compute.

They lie in the folder for temporary files (TMPDIR), readable by nobody else. Each is named by what it was made of (a
URL and its entity tag, a digest), so it is never stale; those that nobody has asked for in a week are deleted when
another is made.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage.folder import FileStamp
from skymetal.catalogs.storage.local import LocalFolder

KEPT_SECONDS = 7 * 86400.0


def place_of(url: str) -> Path:
    """Return the folder on this machine that belongs to a URL."""
    return _root() / "work" / hashlib.sha256(url.encode()).hexdigest()[:16]


def keep(source: str, stamp: FileStamp, pieces: Iterator[bytes]) -> Path:
    """Return the path of a file, written from ``pieces`` unless it is there; of several processes one writes.

    ``source`` and ``stamp`` together are what it is made of.
    """
    folder = LocalFolder(_root() / "copies")
    name = hashlib.sha256(repr((source, stamp)).encode()).hexdigest()[:32]
    path = folder.path / name
    folder.path.mkdir(exist_ok=True)
    with open(folder.path / f".{name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            os.utime(path)
            return path
        _delete_old(folder.path)
        with folder.open_new(name) as file:
            for piece in pieces:
                file.write(piece)
    return path


def _root() -> Path:
    """Return a folder of our own below the one for temporary files, where others could have made one of that name."""
    path = Path(tempfile.gettempdir()) / f"skymetal-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if path.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise InputError(f"{path} is somebody else's, or others may write to it; name another place in TMPDIR")
    return path


def _delete_old(folder: Path) -> None:
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process's half-written file has got its name
            if time.time() - path.lstat().st_mtime > KEPT_SECONDS:
                path.unlink()
