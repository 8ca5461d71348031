"""Publishing: parts and their manifest become an immutable version of the catalogue, and a link that names it.

A version is built under a name that no reader looks at, flushed, renamed whole to ``versions/<version>`` and never
touched again; only then does ``catalogue`` point to it. Whoever is killed in between leaves the old catalogue or
the new one. A version is named by what is in it, so publishing the same thing again rewrites nothing.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from skymetal.catalogs import hats
from skymetal.catalogs.edition import PLAIN_PROPERTIES, Edition, PublishProgress, build_edition
from skymetal.catalogs.errors import InputError
from skymetal.catalogs.parts import Manifest
from skymetal.catalogs.storage import TEMPORARY_PREFIX, Folder, flush_folder

LINK = "catalogue"
VERSIONS = "versions"
BUILDING_PREFIX = ".building-"


@dataclass(frozen=True, kw_only=True)
class CatalogSettings:
    """The job file's ``[catalog]``: the catalogue's name and how many rows a sky pixel may hold."""

    name: str = "skymetal"
    max_rows: int = 1_000_000

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", self.name):
            raise InputError(
                "[catalog] name must be letters, digits, '_', '.' or '-', a letter or digit first, "
                f"got {self.name!r}: it is a name, not a path"
            )
        if self.max_rows < 1:
            raise InputError(f"[catalog] max_rows must be at least 1, got {self.max_rows}")


@dataclass(frozen=True, kw_only=True)
class PublishReceipt:
    """What was published: ``path`` is the link; ``is_hats`` is false where the galaxies have no positions."""

    path: Path
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
    catalogue that was there stays. Raises InputError where there is nothing to publish, or where ``catalogue`` is no
    link of ours. The caller holds the run's lock.
    """
    place = run_dir.path / LINK
    if place.exists() and not place.is_symlink():
        raise InputError(f"{place} is not a link that skymetal made, so it is not replaced: move it away")
    if manifest.num_rows == 0:
        raise InputError(f"{parts} holds no row to publish: all {manifest.num_quarantined} galaxies are quarantined")
    edition = Edition(
        parts=parts,
        manifest=manifest,
        schema=schema,
        name=settings.name,
        max_rows=settings.max_rows,
        provenance=provenance,
    )
    version = edition.version
    versions = run_dir.path / VERSIONS
    if not _is_whole(versions / version):
        for leftover in versions.glob(f"{BUILDING_PREFIX}*"):
            shutil.rmtree(leftover)
        yield from build_edition(edition, run_dir, f"{VERSIONS}/{BUILDING_PREFIX}{version}")
        _flush_tree(versions / f"{BUILDING_PREFIX}{version}")
        if (versions / version).exists():  # a file of it was lost: it makes way
            os.rename(versions / version, versions / f"{BUILDING_PREFIX}{version}-damaged")
        os.rename(versions / f"{BUILDING_PREFIX}{version}", versions / version)
        flush_folder(versions)
    replace_link(run_dir, LINK, f"{VERSIONS}/{version}")
    yield PublishReceipt(
        path=place,
        version=version,
        num_rows=manifest.num_rows,
        num_partitions=_num_partitions(run_dir / f"{VERSIONS}/{version}"),
        is_hats=edition.is_hats,
    )


def replace_link(folder: Folder, name: str, target: str) -> None:
    """Make ``name`` a symbolic link to ``target``, relative to the folder, replacing an older link in one step."""
    temporary = folder.path / f"{TEMPORARY_PREFIX}{os.getpid()}-{name}"
    temporary.unlink(missing_ok=True)
    os.symlink(target, temporary)
    os.replace(temporary, folder.path / name)
    flush_folder(folder.path)


def _is_whole(version: Path) -> bool:
    """Tell whether a version is there with every file that its ``_metadata`` names, each with a footer."""
    try:
        groups = pq.read_metadata(version / hats.METADATA)
        pq.read_schema(version / hats.COMMON_METADATA)
        files = {groups.row_group(index).column(0).file_path for index in range(groups.num_row_groups)}
        num_rows = sum(pq.read_metadata(version / name).num_rows for name in files)
        _num_partitions(Folder(version))
    except (KeyError, ValueError, OSError):  # Arrow's errors are the last two
        return False
    is_hats = (version / hats.PROPERTIES).is_file()
    return num_rows == groups.num_rows and (not is_hats or (version / hats.PARTITION_INFO).is_file())


def _num_partitions(version: Folder) -> int:
    name = hats.PROPERTIES if version.exists(hats.PROPERTIES) else PLAIN_PROPERTIES
    return int(hats.parse_properties(version.read(name))["skymetal_num_partitions"])


def _flush_tree(root: Path) -> None:
    """Flush every folder of a tree to the disk; its files were flushed when they were written."""
    for path, _, _ in os.walk(root):
        flush_folder(Path(path))
