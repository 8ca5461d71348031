"""From what a user names to a folder: a path on a disk, or the URL of a place in a bucket."""

from __future__ import annotations

import re
from pathlib import Path

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage.folder import Folder, Location
from skymetal.catalogs.storage.local import LocalFolder
from skymetal.catalogs.storage.objects import ObjectFolder

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")


def is_url(location: object) -> bool:
    """Tell whether a location is a URL, also where somebody made a path of it, which takes a slash away."""
    return _URL.match(str(location)) is not None


def open_folder(location: Location) -> Folder:
    """Return the folder a user named; it need not exist yet, and a bucket is not asked.

    Raises InputError for a URL that is not ``s3://bucket/…``, and for a path through a file.
    """
    if isinstance(location, Folder):
        return location
    if is_url(location):
        scheme, _, rest = str(location).partition(":")
        return ObjectFolder.of_url(f"{scheme}:{rest if rest.startswith('//') else '/' + rest}")
    folder = LocalFolder(Path(location).expanduser().absolute())
    folder.check()
    return folder


def open_file(location: str | Path) -> tuple[Folder, str]:
    """Return the folder that a file is in, and its name there. Raises as :func:`open_folder` does."""
    if is_url(location):
        parent, _, name = str(location).rpartition("/")
        return open_folder(parent), name
    path = Path(location).expanduser().absolute()
    return LocalFolder(path.parent), path.name


def local_path(folder: Folder, *, what: str) -> Path:
    """Return a folder's path on this machine's disk; raise InputError, saying what needs it, for one in a bucket."""
    if isinstance(folder, LocalFolder):
        return folder.path
    raise InputError(
        f"{what} needs files on this machine, and {folder} is in a bucket: copy that folder to a disk and name the copy"
    )
