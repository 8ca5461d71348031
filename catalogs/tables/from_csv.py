"""CSV survey tables: what each column is over the whole file, then its rows as a stream."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from skymetal.catalogs.errors import first_line

BLOCK_BYTES = (1 << 18, 1 << 24)
"""How much text is parsed at a time, in which a row must fit. Arrow reads some 32 blocks ahead, so the small size comes
first, and the large one only for a file with a row that needs it."""
MISSING = ("", "null", "NULL", "Null", "nan", "NaN", "NAN", "-nan", "-NaN", "NA", "N/A", "n/a", "#N/A", "None", "--")
"""What CasJobs, SkyServer, TOPCAT and pandas write where there is no value."""

_GZIP_MAGIC = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WIDER = {
    None: (pa.int64(), pa.uint64(), pa.float64(), pa.bool_()),
    pa.int64(): (pa.int64(), pa.uint64(), pa.float64()),
    pa.uint64(): (pa.uint64(), pa.float64()),
    pa.float64(): (pa.float64(),),
    pa.bool_(): (pa.bool_(),),
    pa.string(): (),
}
"""What a column of this type so far may turn out to be; text where none of them serves."""
_CODE = r"^\s*[+-]?0[0-9xX]"
"""0012 and 0x1F, which Arrow reads too, name something; as numbers they would name another."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_LEAST_LONG = 10**15
_LONG = r"^\s*[+-]?[0-9]{16,}\s*$"


@dataclass
class _Column:
    """What a column is, by the blocks seen so far: the narrowest type that holds every value; None before the first."""

    type: pa.DataType | None = None
    has_negative: bool = False
    has_long: bool = False

    def look_at(self, text: pa.Array) -> None:
        """Widen the type to hold these values too."""
        if text.null_count == len(text):
            return
        for type_ in _WIDER[self.type]:
            try:
                values = _convert(text, type_)
            except pa.ArrowInvalid:
                continue
            if values.null_count == len(values):
                return
            if pa.types.is_integer(type_) and _any_match(text, _CODE):
                break
            if self._may_be(type_, values, text):
                self.type = type_
                return
        self.type = pa.string()

    def _may_be(self, type_: pa.DataType, values: pa.Array, text: pa.Array) -> bool:
        """Return whether the values seen before fit as well, and none would be rounded."""
        if pa.types.is_boolean(type_):
            return True
        least, greatest = (bound or 0 for bound in pc.min_max(values).as_py().values())
        if least < 0:
            self.has_negative = True
        if max(-least, greatest) >= _LEAST_LONG and (not pa.types.is_floating(type_) or _any_match(text, _LONG)):
            self.has_long = True
        if pa.types.is_floating(type_):
            return not self.has_long  # a float64 would round such an identifier to its neighbour's
        return not (pa.types.is_unsigned_integer(type_) and self.has_negative)


def csv_schema(path: Path) -> pa.Schema:
    """Read the whole file once and return its columns, each with the narrowest type that holds all its values.

    In this order: int64, uint64, float64, or bool, or string. An integer of 16 digits or more never becomes a float,
    and one padded with zeros, or hexadecimal, stays text. Raises ValueError or an Arrow error for what is no CSV table.
    """
    header = _read_header(path)
    columns = [_Column() for _ in header.names]
    for batch in _text_batches(path, header):
        for column, text in zip(columns, batch.columns, strict=True):
            column.look_at(text)
    types = [column.type or pa.null() for column in columns]
    return pa.schema(list(zip(header.names, types, strict=True)))


def csv_tables(path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows, a block of text at a time, in the types of ``schema``."""
    header = _read_header(path)
    if header.names != schema.names:
        raise ValueError("its columns changed while it was being read")
    for batch in _text_batches(path, header):
        arrays = [_convert(text, field.type) for text, field in zip(batch.columns, schema, strict=True)]
        yield pa.Table.from_arrays(arrays, schema=schema)


@dataclass(frozen=True, kw_only=True)
class _Header:
    """How a file begins."""

    compression: str | None
    num_lines_before: int
    raw_names: list[str]

    @property
    def names(self) -> list[str]:
        return [name.strip() for name in self.raw_names]


def _read_header(path: Path) -> _Header:
    """Read the line of names; before it may stand blank lines and comments, such as SkyServer's ``#Table1``."""
    with open(path, "rb") as file:
        compression = "gzip" if file.read(2) == _GZIP_MAGIC else None
    with _open_bytes(path, compression) as file:
        num_lines_before = 0
        line = file.readline(BLOCK_BYTES[0]).removeprefix(_BYTE_ORDER_MARK)
        while line.startswith(b"#") or line.isspace():
            num_lines_before += 1
            line = file.readline(BLOCK_BYTES[0])
    if not line:
        raise ValueError("it is empty")
    if line.lstrip().startswith(b"<"):
        raise ValueError("it begins like a web page, not a table; the service may have answered with an error")
    try:
        names = next(csv.reader([line.splitlines()[0].decode()]))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"its header is no line of names in UTF-8: {first_line(error)}") from error
    if any("\0" in name for name in names):
        raise ValueError("its header holds NUL bytes; save it as UTF-8 text")
    if all(_NUMBER.fullmatch(name.strip()) for name in names):
        raise ValueError("its first line holds numbers only; give it a line of column names")
    return _Header(compression=compression, num_lines_before=num_lines_before, raw_names=names)


def _text_batches(path: Path, header: _Header) -> Iterator[pa.RecordBatch]:
    """Yield the rows with every column as text: the one reader of both passes, so that they cannot disagree."""
    num_given, last_text = 0, None
    for block_bytes in BLOCK_BYTES:
        num_seen = 0
        try:
            with _open_text(path, header, block_bytes) as reader:
                if reader.schema.names != header.raw_names:
                    raise ValueError("its header cannot be read; write each column name once, without line breaks")
                for batch in reader:
                    fresh = batch.slice(min(num_given - num_seen, batch.num_rows))
                    num_seen += batch.num_rows
                    if fresh.num_rows:
                        num_given = num_seen
                        last_text = fresh.columns[-1][-1].as_py()
                        yield fresh
            if "\n" in (last_text or "") and _has_odd_quotes(path, header):
                raise ValueError("a quotation mark is never closed, so the last row runs to the end of the file")
            return
        except pa.ArrowInvalid as error:
            if "straddling" not in str(error):
                raise
    raise ValueError(f"a row is longer than {BLOCK_BYTES[-1] >> 20} MiB, or a quotation mark is never closed")


def _open_bytes(path: Path, compression: str | None) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if compression else open(path, "rb")


def _has_odd_quotes(path: Path, header: _Header) -> bool:
    with _open_bytes(path, header.compression) as file:
        return sum(piece.count(b'"') for piece in iter(lambda: file.read(1 << 20), b"")) % 2 == 1


def _open_text(path: Path, header: _Header, block_bytes: int) -> arrow_csv.CSVStreamingReader:
    return arrow_csv.open_csv(
        pa.input_stream(str(path), compression=header.compression),
        read_options=arrow_csv.ReadOptions(
            block_size=block_bytes, use_threads=False, skip_rows=header.num_lines_before
        ),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(header.raw_names, pa.string()), null_values=MISSING, strings_can_be_null=True
        ),
    )


def _any_match(text: pa.Array, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(text, pattern)).as_py())


def _convert(text: pa.Array, type_: pa.DataType) -> pa.Array:
    """Return values of ``type_``; raise ArrowInvalid where a text is none."""
    if pa.types.is_string(type_):
        return _trim(text)
    if pa.types.is_null(type_):
        if _trim(text).null_count < len(text):
            raise pa.ArrowInvalid("a value stands in a column that had none")
        return pa.nulls(len(text))
    try:
        return pc.cast(text, type_)
    except pa.ArrowInvalid:
        return pc.cast(_trim(text), type_)  # " 17.2", as after a comma and a blank


def _trim(text: pa.Array) -> pa.Array:
    trimmed = pc.utf8_trim_whitespace(text)
    is_missing = pc.is_in(trimmed, value_set=pa.array(MISSING))
    return pc.if_else(is_missing, pa.scalar(None, pa.string()), trimmed)
