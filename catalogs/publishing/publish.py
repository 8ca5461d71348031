"""Publishing: parts and their manifest become an immutable version of the catalogue, and a link that names it.

A version is built where no reader looks, takes its name ``versions/<version>`` whole and is never touched again; only
then does ``catalogue`` point to it. Whoever is killed in between leaves the old catalogue or
the new one. A version is named by what is in it, so publishing the same thing again rewrites nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from skymetal.catalogs.contents import (
    CONTENTS,
    LINK,
    NUM_PARTITIONS,
    PLAIN_PROPERTIES,
    VERSIONS,
    is_whole,
    read_properties,
)
from skymetal.catalogs.data_model import DATA_MODEL
from skymetal.catalogs.errors import InputError
from skymetal.catalogs.hats import COLLECTION
from skymetal.catalogs.parts import Manifest
from skymetal.catalogs.publishing.build import PublishProgress, build_edition
from skymetal.catalogs.publishing.edition import Edition
from skymetal.catalogs.publishing.margin import MAX_MARGIN_ARCSEC
from skymetal.catalogs.storage import Folder

MAX_NAME_LENGTH = 100
RESERVED = frozenset({COLLECTION, PLAIN_PROPERTIES, CONTENTS, DATA_MODEL})


@dataclass(frozen=True, kw_only=True)
class CatalogSettings:
    """The job file's ``[catalog]``.

    name is the catalogue's, max_rows how many a sky pixel may hold. Rows within margin_arcsec of a pixel are kept with
    it too, in a table of their own, for crossmatches within that radius; 0 makes none.
    """

    name: str = "skymetal"
    max_rows: int = 1_000_000
    margin_arcsec: float = 10.0

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", self.name):
            raise InputError(
                "[catalog] name must be letters, digits, '_', '.' or '-', a letter or digit first, "
                f"got {self.name!r}: it is a name, not a path"
            )
        if len(self.name) > MAX_NAME_LENGTH or self.name in RESERVED:
            raise InputError(
                f"[catalog] name must have at most {MAX_NAME_LENGTH} letters, and not be that of a file beside the "
                f"table ({', '.join(sorted(RESERVED))}), got {self.name[:120]!r}"
            )
        if self.max_rows < 1:
            raise InputError(f"[catalog] max_rows must be at least 1, got {self.max_rows}")
        if not (self.margin_arcsec == 0 or 0.01 <= self.margin_arcsec <= MAX_MARGIN_ARCSEC):
            raise InputError(
                f"[catalog] margin_arcsec must be 0 (no margins) or 0.01 to {MAX_MARGIN_ARCSEC:g}, "
                f"got {self.margin_arcsec:g}"
            )


@dataclass(frozen=True, kw_only=True)
class PublishReceipt:
    """What was published: ``place`` is the link; ``is_hats`` is false where the galaxies have no positions."""

    place: str
    version: str
    num_rows: int
    num_partitions: int
    is_hats: bool


def publish(
    *,
    parts: Folder,
    manifest: Manifest,
    schema: pa.Schema,
    run_dir: Folder,
    settings: CatalogSettings,
    provenance: dict[str, str],
) -> Iterator[PublishProgress | PublishReceipt]:
    """Publish a finished pass as ``run_dir/catalogue``; the last thing yielded is the receipt.

    With positions the catalogue is in HATS; without, it is plain Parquet files in object_id order. It is proved on
    the way that every scored row is in it once, in order, under a unique object_id: RuntimeError otherwise, and the
    catalogue that was there stays. (Only a damaged version that is made again under its own name is away for the moment
    between two renames; in a bucket, until it is made.) Raises InputError where there is nothing to publish, or where
    ``catalogue`` is no link of ours. The caller holds the run's lock.
    """
    place = f"{run_dir}/{LINK}"
    if not run_dir.can_point(LINK):
        raise InputError(f"{place} is not a link that skymetal made, so it is not replaced: move it away")
    if manifest.num_rows == 0:
        raise InputError(f"{parts} holds no row to publish: all {manifest.num_quarantined} galaxies are quarantined")
    edition = Edition(
        parts=parts,
        manifest=manifest,
        schema=schema,
        name=settings.name,
        max_rows=settings.max_rows,
        margin_arcsec=float(settings.margin_arcsec),
        provenance=provenance,
    )
    name = f"{VERSIONS}/{edition.version}"
    if not is_whole(run_dir / name):  # nothing is there, or a file of it was lost
        run_dir.sweep_folders(VERSIONS)
        with run_dir.make_folder(name) as building:
            yield from build_edition(edition, building)
    run_dir.point(LINK, name)
    run_dir.sweep_folders(VERSIONS)
    yield PublishReceipt(
        place=place,
        version=edition.version,
        num_rows=manifest.num_rows,
        num_partitions=int(read_properties(run_dir / name)[NUM_PARTITIONS]),
        is_hats=edition.is_hats,
    )
