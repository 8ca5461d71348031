"""catalog verify: a published catalogue proved, file by file and row by row.

Every finding is told, not only the first: whoever must mend a disk wants the whole list.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymetal.catalogs import hats
from skymetal.catalogs.catalog import Catalog
from skymetal.catalogs.contents import CONTENTS, PLAIN_PROPERTIES, read_contents
from skymetal.catalogs.errors import first_line
from skymetal.catalogs.hats import pixel_of_file
from skymetal.catalogs.healpix import healpix29, valid_positions


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is wrong with a file of a version; ``file`` is its name in it."""

    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


@dataclass(frozen=True, kw_only=True)
class FileChecked:
    """One file is done, with what was found in it."""

    file: str
    num_total: int
    findings: tuple[Finding, ...] = ()


@dataclass
class _Seen:
    """What is kept from file to file: where the rows ended, and every id with its file."""

    last_key: int | None = None
    num_rows: int = 0
    ids: list[NDArray[np.int64]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


def prove_catalog(catalog: Catalog) -> Iterator[FileChecked]:
    """Check every file of the version against its list of contents, and every row against what it should be.

    Found, each by the name of its file: a lost, foreign or altered file; another schema; rows out of order, in the
    wrong pixel, at another position than their index; an object_id that is there twice; a wrong count. Memory: one
    file, and 16 bytes a galaxy.
    """
    version = catalog.folder
    try:
        contents = read_contents(version, catalog.properties)
    except (OSError, ValueError) as error:
        yield FileChecked(file=CONTENTS, num_total=1, findings=(Finding(file=CONTENTS, what=first_line(error)),))
        return
    listed = {row["file"]: row for row in contents.to_pylist()}
    own = {CONTENTS, hats.COLLECTION if catalog.has_sky else PLAIN_PROPERTIES}
    there = set(version.files())
    foreign = sorted(there - set(listed) - own)
    num_total = len(listed) + len(foreign) + 1
    for name in foreign:
        finding = Finding(file=name, what="it is not part of the catalogue as published")
        yield FileChecked(file=name, num_total=num_total, findings=(finding,))
    seen = _Seen()
    rows = sorted(listed.values(), key=lambda row: (row["first"] if row["num_rows"] else -1, row["file"]))
    for row in rows:
        findings = tuple(Finding(file=row["file"], what=what) for what in _check_file(catalog, row, seen))
        yield FileChecked(file=row["file"], num_total=num_total, findings=findings)
    findings = tuple(_check_whole(catalog, seen))
    yield FileChecked(file=catalog.name, num_total=num_total, findings=findings)


def _check_file(catalog: Catalog, row: dict[str, object], seen: _Seen) -> Iterator[str]:
    name = str(row["file"])
    version = catalog.folder
    if version.find_size(name) is None:
        yield "it is missing"
        return
    if version.digest(name) != row["digest"]:
        yield "its bytes are not those that were published"
    if row["num_rows"] is None:
        return
    try:
        place = {"filesystem": version.filesystem, "partitioning": None}
        table = pq.read_table(version.arrow_path(name), page_checksum_verification=True, **place)
    except (OSError, pa.ArrowException, ValueError) as error:
        yield f"it cannot be read: {first_line(error)}"
        return
    if table.num_rows != row["num_rows"]:
        yield f"it holds {table.num_rows} rows, not {row['num_rows']}"
    if not table.schema.remove_metadata().equals(catalog.schema, check_metadata=True):
        yield f"its schema is foreign: {_schema_difference(table.schema, catalog.schema)}"
        return
    yield from _check_rows(catalog, name, table, seen)


def _check_rows(catalog: Catalog, name: str, table: pa.Table, seen: _Seen) -> Iterator[str]:
    object_id_N = table["object_id"].to_numpy()
    for column in catalog.schema:
        if not column.nullable and table[column.name].null_count:
            yield f"column {column.name} holds nulls, which the schema forbids"
    if catalog.has_sky:
        yield from _check_places(catalog, name, table, object_id_N)
    if not name.startswith(f"{catalog.name}/"):
        return  # a margin repeats rows of the table
    key_N = table["_healpix_29" if catalog.has_sky else "object_id"].to_numpy()
    steps = np.flatnonzero(key_N[1:] < key_N[:-1])
    if len(steps):
        yield f"row {steps[0] + 1} (object_id {object_id_N[steps[0] + 1]}) is out of order"
    if len(key_N):
        if seen.last_key is not None and key_N[0] < seen.last_key:
            yield "its first row lies before the last of the file before"
        seen.last_key = int(key_N.max())
    seen.num_rows += table.num_rows
    seen.ids.append(object_id_N)
    seen.files.append(name)


def _check_places(catalog: Catalog, name: str, table: pa.Table, object_id_N: NDArray[np.int64]) -> Iterator[str]:
    ra_N, dec_N, index_N = (table[each].to_numpy() for each in ("ra", "dec", "_healpix_29"))
    is_on_sky_N = valid_positions(ra_N, dec_N)
    if not is_on_sky_N.all():
        yield f"object_id {object_id_N[~is_on_sky_N][0]} is not on the sky"
        return
    moved = np.flatnonzero(healpix29(ra_N, dec_N) != index_N)
    if len(moved):
        yield f"_healpix_29 of object_id {object_id_N[moved[0]]} is not that of its position ({len(moved)} rows)"
    pixel = pixel_of_file(name)
    is_margin = not name.startswith(f"{catalog.name}/")
    inside_N = (index_N >= pixel.start) & (index_N < pixel.stop)
    wrong = np.flatnonzero(inside_N if is_margin else ~inside_N)
    if len(wrong):
        where = "inside the pixel whose margin it should be" if is_margin else "in another pixel"
        yield f"object_id {object_id_N[wrong[0]]} lies {where} ({len(wrong)} rows)"


def _check_whole(catalog: Catalog, seen: _Seen) -> Iterator[Finding]:
    if seen.num_rows != catalog.num_rows:
        yield Finding(file=catalog.name, what=f"it holds {seen.num_rows} rows, not {catalog.num_rows}")
    if seen.ids:
        ids_N = np.concatenate(seen.ids)
        file_N = np.repeat(np.arange(len(seen.files)), [len(ids) for ids in seen.ids])
        order = np.argsort(ids_N, kind="stable")
        repeats = np.flatnonzero(ids_N[order][1:] == ids_N[order][:-1])
        if len(repeats):
            first, second = (seen.files[file_N[order[repeats[0] + k]]] for k in (0, 1))
            what = f"object_id {ids_N[order[repeats[0]]]} is also in {first} ({len(repeats)} ids are there twice)"
            yield Finding(file=second, what=what)


def _schema_difference(found: pa.Schema, expected: pa.Schema) -> str:
    extra = [name for name in found.names if name not in expected.names]
    lost = [name for name in expected.names if name not in found.names]
    if extra or lost:
        return f"columns {', '.join(extra) or 'none'} too many, {', '.join(lost) or 'none'} too few"
    for one, other in zip(found, expected, strict=True):
        if not one.equals(other, check_metadata=True):
            return f"column {one.name} is {one.type}, not {other.type}, or is described otherwise"
    return "the columns are in another order"
