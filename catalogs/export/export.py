"""Writes a catalogue, or a table, to one file: whole or not at all, in memory that does not grow with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from skymetal.catalogs.contents import LINK, PLAIN_PROPERTIES, VERSIONS
from skymetal.catalogs.errors import InputError, did_you_mean
from skymetal.catalogs.export.fits import write_fits
from skymetal.catalogs.export.parquet import write_parquet
from skymetal.catalogs.export.rows import Rows, check_columns
from skymetal.catalogs.export.text import write_csv, write_json
from skymetal.catalogs.export.votable import write_votable
from skymetal.catalogs.hats import COLLECTION
from skymetal.catalogs.storage import is_url, open_folder

FORMATS: Mapping[str, Callable[[BinaryIO, Rows], None]] = {
    "fits": write_fits,
    "votable": write_votable,
    "csv": write_csv,
    "parquet": write_parquet,
    "json": write_json,
}
SUFFIXES = {
    ".fits": "fits",
    ".fit": "fits",
    ".vot": "votable",
    ".votable": "votable",
    ".xml": "votable",
    ".csv": "csv",
    ".parquet": "parquet",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
}


def export_rows(rows: Rows, path: str | Path, *, form: str | None = None, overwrite: bool = False) -> None:
    """Write rows to a file; its format is ``form``, or else what the file's suffix says.

    The file takes its name when it is whole. The same rows give the same bytes. Raises InputError for a format that
    there is none of, a place that cannot be written or lies in a catalogue, a file that is there unless ``overwrite``,
    and a column that the format cannot hold; RuntimeError where the catalogue is damaged.
    """
    if is_url(path):
        raise InputError(f"{path} is a URL, but one file for other programs is written to a disk: give a path")
    path = Path(path).expanduser()
    write = FORMATS[_known_format(path, form)]
    check_columns(rows)
    try:
        _check_place(path, overwrite)
        with open_folder(path.parent).open_new(path.name) as file:
            write(file, rows)
            _check_place(path, overwrite)  # somebody may have made it meanwhile
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}; give another place") from error


def _check_place(path: Path, overwrite: bool) -> None:
    """Refuse all but a new name, or with ``overwrite`` a file, outside catalogues: nothing changes those."""
    folder = Path(os.path.realpath(path.parent))
    for parent in (folder, *folder.parents):
        is_version = (parent / COLLECTION).exists() or (parent / PLAIN_PROPERTIES).exists()
        if is_version or (parent.name == VERSIONS and (parent.parent / LINK).is_symlink()):
            raise InputError(f"{path} lies in the catalogue at {parent}, which never changes; write it elsewhere")
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file")
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_file():
        raise InputError(f"{path} is a link, or no regular file; give another name")
    if not overwrite:
        raise InputError(f"{path} is there already; give another name, or --overwrite")


def _known_format(path: Path, form: str | None) -> str:
    if form is None:
        form = SUFFIXES.get(path.suffix.lower())
        if form is None:
            raise InputError(f"{path.name} does not end in {', '.join(SUFFIXES)}; name it so, or give --format")
    if form not in FORMATS:
        raise InputError(f"there is no format {form!r}; {did_you_mean(form, FORMATS)}")
    return form
