"""Building a version: every part's rows into their sky pixels and margins, then what describes them; proved on the way.

part → checked rows → pixel folders, margins → summaries, data model, list of contents
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymetal.catalogs import hats
from skymetal.catalogs.contents import (
    CONTENTS,
    CONTENTS_DIGEST,
    NUM_PARTITIONS,
    NUM_ROWS,
    PLAIN_PROPERTIES,
    describe_file,
    encode_contents,
    seal_properties,
)
from skymetal.catalogs.data_model import DATA_MODEL, describe_columns
from skymetal.catalogs.hats import Pixel
from skymetal.catalogs.publishing.ahead import map_ahead
from skymetal.catalogs.publishing.dataset import DatasetWriter, WrittenFile
from skymetal.catalogs.publishing.edition import Edition
from skymetal.catalogs.publishing.file_plan import FilePlan, check_order, plan_files
from skymetal.catalogs.publishing.file_rows import read_rows
from skymetal.catalogs.publishing.margin_table import MarginTable
from skymetal.catalogs.publishing.ranks import Ranks
from skymetal.catalogs.storage import Folder, digest
from skymetal.catalogs.votable import PARQUET_CONTENT_KEY, PARQUET_VERSION, PARQUET_VERSION_KEY, votable_header

# Ids that are compared at a time: 8 bytes each, a few copies while they are sorted.
IDS_AT_ONCE = 1 << 25
NUM_THREADS = 3
"""Two keep two cores busy while one waits for the disk."""


@dataclass(frozen=True, kw_only=True)
class PublishProgress:
    """How many of the parts are in their pixels."""

    num_done: int
    num_total: int


def build_edition(edition: Edition, building: Folder) -> Iterator[PublishProgress]:
    """Write every file of a version into a folder that nobody looks into; the small ones are not flushed.

    Raises RuntimeError where the parts are damaged, out of order, or hold an object_id twice. Memory: a few files'
    rows, 128 MB of margins, ``IDS_AT_ONCE`` ids, and the files' footers.
    """
    check_order(edition)
    pixels = hats.settle_pixels(Ranks(edition), max_rows=edition.max_rows) if edition.is_hats else []
    galaxies = _writer(edition, building / edition.name)
    margins = None
    if edition.is_hats and edition.margin_arcsec:
        margins = MarginTable(_writer(edition, building / edition.margin_name), edition, pixels)
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        make = partial(_make_file, edition, galaxies, margins)
        for made in map_ahead(pool, make, enumerate(plan_files(edition, pixels))):
            galaxies.add(made.written)
            if margins:
                margins.add(made.in_margins)
            yield PublishProgress(num_done=made.last_shard + 1, num_total=len(edition.manifest.receipts))
        _check_rows(edition, galaxies, pool)
        has_margins = margins is not None and margins.finish(pool)
    _write_descriptions(edition, building, galaxies, margins if has_margins else None, pixels)


@dataclass(frozen=True, kw_only=True)
class _MadeFile:
    """A file of galaxies, the last shard that is in it, and its rows that are in the margins of pixels."""

    written: WrittenFile
    last_shard: int
    in_margins: list[tuple[Pixel, pa.Table]]


def _make_file(
    edition: Edition, galaxies: DatasetWriter, margins: MarginTable | None, numbered: tuple[int, FilePlan]
) -> _MadeFile:
    number, plan = numbered
    rows = read_rows(edition, plan)
    written = galaxies.write(number, plan.folder, rows, **{"skymetal.source_shards": plan.source_shards})
    return _MadeFile(
        written=written,
        last_shard=plan.pieces[-1].receipt.index,
        in_margins=margins.find(rows) if margins else [],
    )


def _writer(edition: Edition, folder: Folder) -> DatasetWriter:
    provenance = {f"skymetal.{key}": value for key, value in edition.provenance.items()}
    header = votable_header(edition.schema, name=edition.name)
    provenance["skymetal.manifest"] = edition.manifest.digest
    words = {PARQUET_VERSION_KEY: PARQUET_VERSION, PARQUET_CONTENT_KEY: header}
    return DatasetWriter(
        folder=folder,
        schema=edition.schema,
        sort_key=edition.sort_key,
        version=edition.version,
        words=provenance | words,
    )


def _check_rows(edition: Edition, galaxies: DatasetWriter, pool: Executor) -> None:
    """Read back what was written: as many rows as were scored, and no object_id twice; RuntimeError otherwise."""
    if galaxies.num_rows != edition.manifest.num_rows:
        raise RuntimeError(f"{galaxies.folder} got {galaxies.num_rows} rows; {edition.manifest.num_rows} were scored")
    num_rounds = -(-galaxies.num_rows // IDS_AT_ONCE)
    for turn in range(num_rounds):
        files = [entry.file for entry in galaxies.entries]
        read = partial(_read_ids, galaxies.folder, turn=turn, num_rounds=num_rounds)
        ids = np.concatenate(list(pool.map(read, files)))
        ids.sort()
        repeated = ids[1:][ids[1:] == ids[:-1]]
        if len(repeated):
            raise RuntimeError(f"{edition.parts}: object_id {repeated[0]} was scored twice; nothing is published")


def _read_ids(folder: Folder, file: str, *, turn: int, num_rounds: int) -> NDArray[np.int64]:
    """Return the ids of a file that are looked at in this turn."""
    source = folder.filesystem.open_input_file(folder.arrow_path(file))
    ids: NDArray[np.int64] = pq.ParquetFile(source).read(["object_id"], use_threads=False)["object_id"].to_numpy()
    if num_rounds == 1:
        return ids
    # Survey ids are structured: multiplied by the golden ratio, their high bits spread evenly over the rounds.
    spread = (ids.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
    in_turn: NDArray[np.int64] = ids[spread % np.uint64(num_rounds) == turn]
    return in_turn


def _write_descriptions(
    edition: Edition, building: Folder, galaxies: DatasetWriter, margins: MarginTable | None, pixels: list[Pixel]
) -> None:
    """Write what is beside the rows; the list of contents and the properties that name it come last."""
    small_files = {}
    if edition.is_hats:
        properties = hats.table_properties(name=edition.name, pixels=pixels, max_rows=edition.max_rows)
        small_files[hats.PROPERTIES] = hats.format_properties(properties | edition.words)
        small_files[hats.PARTITION_INFO] = hats.partition_info(pixels)
    num_partitions = len(pixels) if edition.is_hats else len(galaxies.entries)
    galaxies.finish(small_files)
    model = describe_columns(edition.schema, title=edition.name)
    building.write(DATA_MODEL, model, flush=False)
    entries = [describe_file(DATA_MODEL, model), *galaxies.named_entries()]
    if margins:
        entries += margins.writer.named_entries()
    contents = encode_contents(entries)
    building.write(CONTENTS, contents, flush=False)
    tables = hats.collection_properties(primary=edition.name, margins=[edition.margin_name] if margins else [])
    top = {
        "obs_collection": edition.name,
        **(tables if edition.is_hats else {}),
        NUM_ROWS: str(edition.manifest.num_rows),
        NUM_PARTITIONS: str(num_partitions),
        **edition.words,
        CONTENTS_DIGEST: digest(contents),
    }
    building.write(hats.COLLECTION if edition.is_hats else PLAIN_PROPERTIES, seal_properties(top), flush=False)
