"""One table of a version being written: Parquet files in folders, and at the end the summaries of them all."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from functools import cached_property

import pyarrow as pa
import pyarrow.parquet as pq

from skymetal.catalogs.contents import FileEntry, describe_file
from skymetal.catalogs.hats import COMMON_METADATA, METADATA, dataset_metadata
from skymetal.catalogs.parts import PARQUET_OPTIONS
from skymetal.catalogs.storage import Folder, digest

# Small enough that a cone search reads little, large enough that a column's chunk is worth its place in the footer.
ROW_GROUP_SIZE = 16_384
# Parts are joined to files of about so many rows: a survey's worth of small files is slow to copy, list and open.
FILE_ROWS = 131_072
FILE_BYTES = 64 << 20
"""In memory: with embeddings a row is a kilobyte."""
_MAX_WAITING = 4


@dataclass(kw_only=True)
class DatasetWriter:
    """Writes a table's files into its folder; encodes them in other threads, a few at a time.

    ``words`` go into the footer of every file; ``version`` is part of its name: a reader whose link moves on gets an
    error, never another version's rows.
    """

    folder: Folder
    schema: pa.Schema
    sort_key: str
    version: str
    words: Mapping[str, str]
    pool: Executor
    entries: list[FileEntry] = field(default_factory=list)
    _footers: dict[str, pq.FileMetaData] = field(default_factory=dict)
    _waiting: deque[Future[tuple[FileEntry, pq.FileMetaData]]] = field(default_factory=deque)
    _held: list[pa.Table] = field(default_factory=list)
    _held_from: list[int] = field(default_factory=list)
    _held_folder: str = ""
    _num_files: int = 0

    @cached_property
    def row_bytes(self) -> int:
        """What a row takes in memory; every column of a catalogue is of one width."""
        widths: list[int] = [
            field.type.list_size * field.type.value_type.bit_width
            if pa.types.is_fixed_size_list(field.type)
            else field.type.bit_width
            for field in self.schema
        ]
        return -(-sum(widths) // 8)

    @property
    def num_rows(self) -> int:
        """How many rows the written files hold, by their own footers."""
        return sum(int(footer.num_rows) for footer in self._footers.values())

    def append(self, folder: str, rows: pa.Table, *, shard: int) -> None:
        """Take the next rows, of that folder and from that shard; write them when they fill a file."""
        if self._held and (folder != self._held_folder or self._is_full()):
            self._write_held()
        self._held.append(rows)
        self._held_from.append(shard)
        self._held_folder = folder

    def write(self, folder: str, rows: pa.Table, **words: str) -> None:
        """Write one file, in its turn; words are for its footer alone."""
        while len(self._waiting) >= _MAX_WAITING:
            self._take()
        name = f"{folder}/part-{self._num_files:06d}-{self.version[:8]}.parquet"
        self._num_files += 1
        self._waiting.append(self.pool.submit(self._write, name, rows, {**self.words, **words}))

    def flush(self) -> None:
        """Write the rows that are held, and wait for the files whose turn has not come."""
        if self._held:
            self._write_held()
        while self._waiting:
            self._take()

    def finish(self, small_files: Mapping[str, bytes]) -> None:
        """Write the summaries, and what else belongs beside the data."""
        self.flush()
        common = encode_table(self.schema.empty_table(), self.words)[0]
        files = {COMMON_METADATA: common, METADATA: dataset_metadata(common, self._footers), **small_files}
        for name, data in files.items():
            self.folder.write(name, data, flush=False)
            self.entries.append(describe_file(name, data))

    def named_entries(self) -> list[FileEntry]:
        """Return the entries of all files, by their names in the version."""
        return [replace(entry, file=f"{self.folder.name}/{entry.file}") for entry in self.entries]

    @cached_property
    def _max_rows(self) -> int:
        return min(FILE_ROWS, FILE_BYTES // self.row_bytes)

    def _is_full(self) -> bool:
        num_rows: int = sum(table.num_rows for table in self._held)
        return num_rows >= self._max_rows

    def _write_held(self) -> None:
        shards = f"{self._held_from[0]}-{self._held_from[-1]}"
        self.write(self._held_folder, pa.concat_tables(self._held), **{"skymetal.source_shards": shards})
        self._held, self._held_from = [], []

    def _take(self) -> None:
        entry, footer = self._waiting.popleft().result()
        self.entries.append(entry)
        self._footers[entry.file] = footer

    def _write(self, name: str, table: pa.Table, words: Mapping[str, str]) -> tuple[FileEntry, pq.FileMetaData]:
        for named, column in zip(self.schema, table.columns, strict=True):
            if not named.nullable and column.null_count:
                raise RuntimeError(f"column {named.name} of {name} holds nulls, which the schema forbids")
        data, footer = encode_table(table.cast(self.schema), words)
        self.folder.write(name, data)  # flushed now: the disk works while the next one is encoded
        keys = table[self.sort_key]
        entry = FileEntry(
            file=name,
            num_bytes=len(data),
            digest=digest(data),
            num_rows=table.num_rows,
            first=keys[0].as_py(),
            last=keys[-1].as_py(),
        )
        return entry, footer


def encode_table(table: pa.Table, words: Mapping[str, str]) -> tuple[bytes, pq.FileMetaData]:
    """Return a table as Parquet bytes with words in the footer, and the footer."""
    stream = pa.BufferOutputStream()  # Arrow's own: its threads never wait for Python's lock
    with pq.ParquetWriter(stream, table.schema, **PARQUET_OPTIONS) as writer:
        writer.add_key_value_metadata(dict(words))
        if table.num_rows:
            writer.write_table(table, row_group_size=ROW_GROUP_SIZE)
    data = stream.getvalue().to_pybytes()
    return data, pq.read_metadata(pa.BufferReader(data))
