"""An edition: what decides the bytes of one version of the catalogue, and the making of its files."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymetal.catalogs import hats
from skymetal.catalogs.hats import Pixel
from skymetal.catalogs.parts import Manifest, PartReceipt, encode_parquet, read_part
from skymetal.catalogs.storage import Folder, digest

PLAIN_PROPERTIES = "catalogue.properties"
ROW_GROUP_SIZE = 65_536
# Ids that are compared at a time: 8 bytes each, a few copies while they are sorted.
IDS_AT_ONCE = 1 << 25
# Part of a version's name: raise it whenever the same parts would become other files.
LAYOUT = 1


@dataclass(frozen=True, kw_only=True)
class PublishProgress:
    """How far a stage is, in parts: ``count`` finds the sky pixels, ``write`` fills them."""

    stage: str
    num_done: int
    num_total: int


@dataclass(frozen=True, kw_only=True)
class Edition:
    """The parts of a finished pass and how they are to be laid out: all that a version's bytes depend on."""

    parts: Folder
    manifest: Manifest
    schema: pa.Schema
    name: str
    max_rows: int
    provenance: Mapping[str, str]

    def __post_init__(self) -> None:
        for key in self.provenance:
            if not re.fullmatch(r"\w+", key, re.ASCII):
                raise ValueError(f"a provenance key is one plain word, got {key!r}")

    @property
    def is_hats(self) -> bool:
        """Whether the galaxies have positions."""
        return "_healpix_29" in self.schema.names

    @property
    def sort_key(self) -> str:
        """The column that the parts are sorted by, within and from part to part."""
        return "_healpix_29" if self.is_hats else "object_id"

    @property
    def version(self) -> str:
        """The version's name, 16 hexadecimal digits: the same content, the same name."""
        fields = [[field.name, str(field.type), field.nullable, _words(field.metadata)] for field in self.schema]
        layout = [LAYOUT, self.name, self.max_rows, dict(self.provenance)]
        content = [self.manifest.digest, fields, _words(self.schema.metadata), layout]
        return digest(json.dumps(content, sort_keys=True).encode())[:16]

    def footer(self, **more: str) -> pa.Schema:
        """Return the schema with the provenance, and more, among its metadata."""
        words = {f"skymetal.{key}": value for key, value in {**self.provenance, **more}.items()}
        return self.schema.with_metadata({**(self.schema.metadata or {}), **words})


def build_edition(edition: Edition, run_dir: Folder, building: str) -> Iterator[PublishProgress]:
    """Write every file of a version into the folder ``building`` of the run directory.

    Raises RuntimeError where the parts are damaged, out of order, or hold an object_id twice. Memory: a part, about
    ``max_rows`` sky indices, ``IDS_AT_ONCE`` ids, and the files' footers.
    """
    pixels: list[Pixel] = []
    held: list[NDArray[np.int64]] = []
    total = len(edition.manifest.receipts)
    for done, (_, table) in enumerate(_checked_parts(edition), start=1):
        if edition.is_hats:
            held.append(table["_healpix_29"].to_numpy())
            if sum(map(len, held)) > edition.max_rows or done == total:
                previous = pixels[-1] if pixels else None
                new, rest = hats.settle_pixels(
                    np.concatenate(held), previous=previous, max_rows=edition.max_rows, is_last=done == total
                )
                pixels += new
                held = [rest]
        yield PublishProgress(stage="count", num_done=done, num_total=total)
    footers: dict[str, pq.FileMetaData] = {}
    for done, (receipt, table) in enumerate(_checked_parts(edition), start=1):
        schema = edition.footer(source_part=receipt.file, source_digest=receipt.digest)
        for folder, piece in _pieces(table, pixels) if edition.is_hats else [(hats.DATASET, table)]:
            if piece.num_rows:
                data = encode_parquet(piece.cast(schema), row_group_size=ROW_GROUP_SIZE)
                name = f"{folder}/part-{receipt.index:06d}.parquet"
                run_dir.write(f"{building}/{name}", data)
                footers[name] = pq.read_metadata(pa.BufferReader(data))
        yield PublishProgress(stage="write", num_done=done, num_total=total)
    _check_rows(edition, run_dir / building, footers)
    for name, data in _small_files(edition, pixels, footers).items():
        run_dir.write(f"{building}/{name}", data)


def _checked_parts(edition: Edition) -> Iterator[tuple[PartReceipt, pa.Table]]:
    """Yield every part's rows; raise RuntimeError where columns, nulls or order are not what they should be."""
    last: int | None = None
    for receipt in edition.manifest.receipts:
        table = read_part(edition.parts, receipt)
        where = f"{edition.parts}/{receipt.file}"
        if table.schema.names != edition.schema.names or table.schema.types != edition.schema.types:
            raise RuntimeError(f"{where} has other columns than the catalogue: {table.schema.names}")
        if table.num_rows != receipt.num_rows:
            raise RuntimeError(f"{where} holds {table.num_rows} rows; its receipt says {receipt.num_rows}")
        for field in edition.schema:
            if not field.nullable and table[field.name].null_count:
                raise RuntimeError(f"{where}: column {field.name} holds nulls, which the schema forbids")
        if table.num_rows:
            keys = table[edition.sort_key].to_numpy()
            if (keys[1:] < keys[:-1]).any() or (last is not None and keys[0] < last):
                raise RuntimeError(
                    f"{where} is out of order: {edition.sort_key} goes down in it, or from the part before"
                )
            last = int(keys[-1])
        yield receipt, table


def _pieces(table: pa.Table, pixels: list[Pixel]) -> Iterator[tuple[str, pa.Table]]:
    """Cut a part's rows at the borders of the sky pixels; yield each piece with its folder in the catalogue."""
    if table.num_rows:
        keys = table["_healpix_29"].to_numpy()
        starts = np.array([pixel.start for pixel in pixels])
        first, last = (int(place) - 1 for place in np.searchsorted(starts, (keys[0], keys[-1]), side="right"))
        cuts = [*np.searchsorted(keys, starts[first : last + 1]).tolist(), len(keys)]
        for pixel, (start, stop) in zip(pixels[first : last + 1], itertools.pairwise(cuts), strict=True):
            yield pixel.folder, table.slice(start, stop - start)


def _check_rows(edition: Edition, folder: Folder, footers: Mapping[str, pq.FileMetaData]) -> None:
    """Read back what was written: as many rows as were scored, and no object_id twice; RuntimeError otherwise."""
    num_rows = sum(int(footer.num_rows) for footer in footers.values())
    if num_rows != edition.manifest.num_rows:
        raise RuntimeError(f"{folder} got {num_rows} rows; {edition.manifest.num_rows} were scored")
    num_rounds = -(-num_rows // IDS_AT_ONCE)
    for turn in range(num_rounds):
        found = []
        for name in footers:
            ids = pq.read_table(folder.path / name, columns=["object_id"], partitioning=None)["object_id"].to_numpy()
            # Survey ids are structured: multiplied by the golden ratio, their high bits spread evenly over the rounds.
            spread = (ids.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
            found.append(ids[spread % np.uint64(num_rounds) == turn])
        ids = np.sort(np.concatenate(found))
        repeated = ids[1:][ids[1:] == ids[:-1]]
        if len(repeated):
            raise RuntimeError(f"{edition.parts}: object_id {repeated[0]} was scored twice; nothing is published")


def _small_files(edition: Edition, pixels: list[Pixel], footers: Mapping[str, pq.FileMetaData]) -> dict[str, bytes]:
    """Return the files beside the data, by name."""
    files = {
        hats.COMMON_METADATA: hats.common_metadata(edition.footer()),
        hats.METADATA: hats.dataset_metadata(edition.footer(), footers),
    }
    words = {f"skymetal_{key}": value for key, value in sorted(edition.provenance.items())}
    words |= {
        "skymetal_catalogue_version": edition.version,
        "skymetal_manifest_digest": edition.manifest.digest,
        "skymetal_num_partitions": str(len(pixels) if edition.is_hats else len(footers)),
    }
    if edition.is_hats:
        properties = hats.hats_properties(name=edition.name, pixels=pixels, max_rows=edition.max_rows)
        files[hats.PARTITION_INFO] = hats.partition_info(pixels)
        files[hats.PROPERTIES] = hats.format_properties(properties | words)
    else:
        properties = {"obs_collection": edition.name, "num_rows": str(edition.manifest.num_rows)}
        files[PLAIN_PROPERTIES] = hats.format_properties(properties | words)
    return files


def _words(metadata: Mapping[bytes, bytes] | None) -> list[list[str]]:
    return sorted([key.decode(), value.decode()] for key, value in (metadata or {}).items())
