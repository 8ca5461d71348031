"""Building a version: the parts' rows into files of their sky pixels, into margins, then what describes them.

receipts → plan of files → checked rows → pixel folders, margins → summaries, data model, list of contents
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from skymetal.catalogs.publishing.file_plan import FilePlan, check_receipts, plan_files
from skymetal.catalogs.publishing.file_rows import RowReader
from skymetal.catalogs.publishing.margin_table import MarginTable
from skymetal.catalogs.publishing.ranks import Ranks
from skymetal.catalogs.storage import Folder, digest
from skymetal.catalogs.votable import PARQUET_CONTENT_KEY, PARQUET_VERSION, PARQUET_VERSION_KEY, votable_header

Ids = NDArray[np.int64]
# Ids that are compared at a time: 8 bytes each, a few copies while they are sorted.
IDS_AT_ONCE = 1 << 25
NUM_THREADS = 3
"""Two keep two cores busy while one waits for the disk."""


@dataclass(frozen=True, kw_only=True)
class PublishProgress:
    """So many more of the pass's rows are in a file of their pixel."""

    num_rows: int


def build_edition(edition: Edition, building: Folder) -> Iterator[PublishProgress]:
    """Write every file of a version into a folder that nobody looks into; the small ones are not flushed.

    Raises RuntimeError where the parts are damaged, out of order, or hold an object_id twice. Memory: a few files'
    rows, 128 MB of margins, ``IDS_AT_ONCE`` ids, and the files' footers.
    """
    check_receipts(edition)
    pixels = hats.settle_pixels(Ranks(edition), max_rows=edition.max_rows) if edition.is_hats else []
    galaxies = _writer(edition, building / edition.name)
    margins = None
    if edition.is_hats and edition.margin_arcsec:
        margins = MarginTable(_writer(edition, building / edition.margin_name), edition, pixels)
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        make = partial(_make_file, galaxies, margins, RowReader(edition), _num_turns(edition))
        ids: list[Ids] = []
        for made in map_ahead(pool, make, enumerate(plan_files(edition, pixels))):
            galaxies.add(made.written)
            ids.append(made.ids)
            if margins:
                margins.add(made.in_margins)
            yield PublishProgress(num_rows=int(made.written.footer.num_rows))
        checking = pool.submit(_check_ids, edition, ids)
        has_margins = margins is not None and margins.finish(pool)
        checking.result()
        _check_rows(edition, galaxies, pool)
    _write_descriptions(edition, building, galaxies, margins if has_margins else None, pixels)


@dataclass(frozen=True, kw_only=True)
class _MadeFile:
    """A file of galaxies, its ids that are looked at in the first turn, and its rows in the margins of pixels."""

    written: WrittenFile
    ids: Ids
    in_margins: list[tuple[Pixel, pa.Table]]


def _make_file(
    galaxies: DatasetWriter,
    margins: MarginTable | None,
    reader: RowReader,
    num_turns: int,
    numbered: tuple[int, FilePlan],
) -> _MadeFile:
    number, plan = numbered
    rows = reader.read(plan)
    written = galaxies.write(number, plan.folder, rows, **{"skymetal.source_shards": plan.source_shards})
    return _MadeFile(
        written=written,
        ids=_in_turn(rows["object_id"].to_numpy(), 0, num_turns),
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
    """Prove that as many rows are written as were scored; and of more ids than fit, that those left are no repeats.

    Raises RuntimeError otherwise.
    """
    if galaxies.num_rows != edition.manifest.num_rows:
        raise RuntimeError(f"{galaxies.folder} got {galaxies.num_rows} rows; {edition.manifest.num_rows} were scored")
    num_turns = _num_turns(edition)
    files = [entry.file for entry in galaxies.entries]
    for turn in range(1, num_turns):
        read = partial(_read_ids, galaxies.folder)
        _check_ids(edition, [_in_turn(ids, turn, num_turns) for ids in map_ahead(pool, read, files)])


def _num_turns(edition: Edition) -> int:
    """Return in how many turns all ids are looked at: the first while rows are written, each other in the files."""
    return max(1, -(-edition.manifest.num_rows // IDS_AT_ONCE))


def _in_turn(ids: Ids, turn: int, num_turns: int) -> Ids:
    if num_turns == 1:
        return ids
    # Survey ids are structured: multiplied by the golden ratio, their high bits spread evenly over the turns.
    spread = (ids.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
    in_turn: Ids = ids[spread % np.uint64(num_turns) == turn]
    return in_turn


def _check_ids(edition: Edition, ids: Sequence[Ids]) -> None:
    together = np.concatenate(ids)
    together.sort()
    repeated = together[1:][together[1:] == together[:-1]]
    if len(repeated):
        raise RuntimeError(f"{edition.parts}: object_id {repeated[0]} was scored twice; nothing is published")


def _read_ids(folder: Folder, file: str) -> Ids:
    source = folder.filesystem.open_input_file(folder.arrow_path(file))
    ids: Ids = pq.ParquetFile(source).read(["object_id"], use_threads=False)["object_id"].to_numpy()
    return ids


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
