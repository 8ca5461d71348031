"""One table of a version being written: Parquet files in folders, and at the end the summaries of them all."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.parquet as pq

from skymetal.catalogs.contents import FileEntry, describe_file
from skymetal.catalogs.hats import COMMON_METADATA, METADATA, dataset_metadata
from skymetal.catalogs.parts import PARQUET_OPTIONS
from skymetal.catalogs.storage import Folder, digest

# Small enough that a cone search reads little, large enough that a column's chunk is worth its place in the footer.
ROW_GROUP_SIZE = 16_384


@dataclass(frozen=True, kw_only=True)
class WrittenFile:
    """A data file that is on the disk: its entry in the list of contents, and its footer."""

    entry: FileEntry
    footer: pq.FileMetaData


@dataclass(kw_only=True)
class DatasetWriter:
    """Writes a table's files into its folder, in any thread, and knows those that were added, in order.

    ``words`` go into the footer of every file; ``version`` is part of its name: a reader whose link moves on gets an
    error, never another version's rows.
    """

    folder: Folder
    schema: pa.Schema
    sort_key: str
    version: str
    words: Mapping[str, str]
    entries: list[FileEntry] = field(default_factory=list)
    _footers: dict[str, pq.FileMetaData] = field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        """How many rows the added files hold, by their own footers."""
        return sum(int(footer.num_rows) for footer in self._footers.values())

    def write(self, number: int, folder: str, rows: pa.Table, **words: str) -> WrittenFile:
        """Write one file; words are for its footer alone. It is part of the table once it is added."""
        name = f"{folder}/part-{number:06d}-{self.version[:8]}.parquet"
        for named, column in zip(self.schema, rows.columns, strict=True):
            if not named.nullable and column.null_count:
                raise RuntimeError(f"column {named.name} of {name} holds nulls, which the schema forbids")
        data, footer = encode_table(rows.cast(self.schema), {**self.words, **words})
        self.folder.write(name, data)  # flushed now: the disk works while the next one is encoded
        keys = rows[self.sort_key]
        entry = FileEntry(
            file=name,
            num_bytes=len(data),
            digest=digest(data),
            num_rows=rows.num_rows,
            first=keys[0].as_py(),
            last=keys[-1].as_py(),
        )
        return WrittenFile(entry=entry, footer=footer)

    def add(self, written: WrittenFile) -> None:
        """Make a file part of the table, after those added before."""
        self.entries.append(written.entry)
        self._footers[written.entry.file] = written.footer

    def finish(self, small_files: Mapping[str, bytes]) -> None:
        """Write the summaries, and what else belongs beside the data."""
        common = encode_table(self.schema.empty_table(), self.words)[0]
        files = {COMMON_METADATA: common, METADATA: dataset_metadata(common, self._footers), **small_files}
        for name, data in files.items():
            self.folder.write(name, data, flush=False)
            self.entries.append(describe_file(name, data))

    def named_entries(self) -> list[FileEntry]:
        """Return the entries of all files, by their names in the version."""
        return [replace(entry, file=f"{self.folder.name}/{entry.file}") for entry in self.entries]


def encode_table(table: pa.Table, words: Mapping[str, str]) -> tuple[bytes, pq.FileMetaData]:
    """Return a table as Parquet bytes with words in the footer, and the footer."""
    stream = io.BytesIO()
    with pq.ParquetWriter(stream, table.schema, **PARQUET_OPTIONS) as writer:
        writer.add_key_value_metadata(dict(words))
        if table.num_rows:
            writer.write_table(table, row_group_size=ROW_GROUP_SIZE)
    data = stream.getvalue()
    return data, pq.read_metadata(pa.BufferReader(data))
