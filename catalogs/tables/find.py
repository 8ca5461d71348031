"""Which files the names, folders and patterns of a job stand for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from glob import has_magic
from pathlib import Path

from skymetal.catalogs.errors import InputError, first_line
from skymetal.catalogs.hats import COLLECTION, parse_properties
from skymetal.catalogs.tables.kinds import kind_of


class NoTable(InputError):
    """A name stands for nothing: no such file, no match, or an empty folder."""


def find_tables(names: Sequence[str]) -> list[Path]:
    """Return the files that the names stand for, sorted, none twice.

    A name is a file, a pattern (``*``, ``?``, ``[…]``, ``**``), a folder with its subfolders, or a HATS catalogue or
    collection, of which the Parquet files of the (primary) dataset are taken: margins repeat its rows.
    Raises NoTable for a name that stands for nothing, InputError for any file that is no survey table: to pass over
    one would be to lose its rows without a word.
    """
    found: dict[str, Path] = {}
    for name in names:
        for path in _expand(name):
            real = os.path.realpath(path)
            if real in found:
                continue
            if not path.is_file():
                raise InputError(f"table {path} is not a regular file; remove it, or name the tables one by one")
            kind_of(path)
            found[real] = path
    return sorted(found.values())


def _expand(name: str) -> Iterator[Path]:
    path = Path(name)
    if not name.strip() or "\0" in name:
        raise InputError(f"{name!r} names no table; give a file, a folder or a pattern")
    if os.path.lexists(path):
        matches = [path]
    elif has_magic(name):
        matches = _matching(path)
    else:
        raise NoTable(f"table {name} does not exist; check the path")
    catalogues = {match for match in matches if _is_hats(match)}
    for match in matches:
        if catalogues.isdisjoint(match.parents):
            yield from _in_folder(match) if match.is_dir() else [match]


def _matching(pattern: Path) -> list[Path]:
    """Return what matches, as a shell would: a wildcard matches no hidden name, and ``**`` follows no link."""
    try:
        root = Path(pattern.anchor)
        matches = sorted(root.glob(str(pattern.relative_to(root))))
    except (OSError, ValueError, NotImplementedError) as error:
        raise InputError(f"the pattern {pattern} cannot be used: {first_line(error)}") from error
    literal = set(pattern.parts)
    matches = [path for path in matches if not any(part.startswith(".") for part in set(path.parts) - literal)]
    if not matches:
        raise NoTable(f"no table matches the pattern {pattern}; check the path")
    return matches


def _in_folder(folder: Path) -> list[Path]:
    """Return every file below a folder; each folder is entered once, since a link may lead back to it."""
    files: list[Path] = []
    waiting, seen = [folder], set()
    while waiting:
        here = waiting.pop()
        if os.path.realpath(here) in seen:
            continue
        seen.add(os.path.realpath(here))
        if _is_hats(here):
            files += _hats_files(here)
            continue
        try:
            entries = list(here.iterdir())
        except OSError as error:
            raise InputError(f"folder {here} cannot be read: {error.strerror}") from error
        waiting += [entry for entry in entries if entry.is_dir()]
        files += [entry for entry in entries if not entry.is_dir()]
    if not files:
        raise NoTable(f"folder {folder} holds no table; give one with survey tables")
    return files


def _is_hats(path: Path) -> bool:
    if (path / COLLECTION).is_file():
        return True
    has_properties = (path / "hats.properties").is_file() or (path / "properties").is_file()
    return has_properties and (path / "dataset").is_dir()


def _hats_files(catalogue: Path) -> list[Path]:
    """Return the data files: whatever stands below Npix=…, or is it. The rest is metadata, margins and read-mes."""
    if (catalogue / COLLECTION).is_file():
        primary = parse_properties((catalogue / COLLECTION).read_bytes()).get("hats_primary_table_url", "")
        inner = catalogue / primary
        if not primary or (inner / COLLECTION).is_file() or not _is_hats(inner):
            raise InputError(f"HATS collection {catalogue} names no primary table that is there; is it complete?")
        return _hats_files(inner)
    dataset = catalogue / "dataset"
    files = [
        path
        for path in dataset.rglob("*.parquet")
        if re.search(r"Npix=\d+", str(path.relative_to(dataset)))
        and not any(part.startswith((".", "_")) for part in path.relative_to(dataset).parts)
        and path.is_file()
    ]
    if not files:
        raise InputError(f"HATS catalogue {catalogue} holds no Parquet file in dataset/; is it complete?")
    return files
