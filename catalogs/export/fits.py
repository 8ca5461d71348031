"""A FITS file with one binary table: units, UCDs, meanings, nulls, provenance and checksums in its header."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.export.checksum import OnesSum, encode_checksum
from skymetal.catalogs.export.records import NUMBERS, dtype_of, fill_records, without_decimals
from skymetal.catalogs.export.rows import Rows, is_text, recast
from skymetal.catalogs.votable import field_words

if TYPE_CHECKING:
    from astropy.io.fits import Header

BLOCK = 2880
_LETTERS = {"u1": "B", ">i2": "I", ">i4": "J", ">i8": "K", ">f4": "E", ">f8": "D"}
_NULL_LOGICAL = b"\0"


def write_fits(file: BinaryIO, rows: Rows) -> None:
    """Write the rows to a file at its start; the same rows give the same bytes.

    Raises InputError for a type, a text or a null that FITS cannot hold, naming the column.
    """
    rows = without_decimals(rows)
    # All of a byte's numbers may be meant: none is left to stand for a null.
    nullable_bytes = [field.name for field in rows.schema if field.nullable and field.type == pa.uint8()]
    rows = recast(rows, dict.fromkeys(nullable_bytes, pa.int16()))
    sizes = rows.text_sizes()
    letters = {field.name: _format(field, sizes.get(field.name, 0)) for field in rows.schema}
    dtype = np.dtype([(field.name, dtype_of(field.type, sizes.get(field.name, 0))) for field in rows.schema])
    nulls = {field.name: _null_integer(field) for field in rows.schema if _needs_null_integer(field)}
    header = _header(rows, dtype.itemsize, letters, nulls)
    file.write(_blocks(_new_header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", True)])))
    place = file.tell()
    file.write(_blocks(header))
    data_sum = OnesSum()
    num_bytes = 0
    for piece in rows.pieces():
        _check_vectors(piece)
        records = np.empty(piece.num_rows, dtype)
        fill_records(records, piece, encode=_ascii_bytes, null_logical=_NULL_LOGICAL, null_integers=nulls)
        data = records.tobytes()
        file.write(data)
        data_sum.add(data)
        num_bytes += len(data)
    file.write(bytes(-num_bytes % BLOCK))
    file.seek(place)
    file.write(_with_checksums(header, data_sum.value))


def _header(rows: Rows, row_bytes: int, letters: dict[str, str], nulls: dict[str, int]) -> Header:
    header = _new_header(
        [
            ("XTENSION", "BINTABLE"),
            ("BITPIX", 8),
            ("NAXIS", 2),
            ("NAXIS1", row_bytes, "bytes a row"),
            ("NAXIS2", rows.num_rows, "rows"),
            ("PCOUNT", 0),
            ("GCOUNT", 1),
            ("TFIELDS", len(rows.schema), "columns"),
            ("EXTNAME", _ascii(rows.name)),
            ("LONGSTRN", "OGIP 1.0", "texts may go on in CONTINUE"),
            ("CHECKSUM", "0" * 16),
            ("DATASUM", "0"),
        ]
    )
    for number, field in enumerate(rows.schema, start=1):
        header[f"TTYPE{number}"] = _ascii(field.name)
        header[f"TFORM{number}"] = letters[field.name]
        for key, word in (("TUNIT", "unit"), ("TUCD", "ucd"), ("TCOMM", "description")):
            if text := field_words(field, word):
                header[f"{key}{number}"] = _ascii(text)
        if field.name in nulls:
            header[f"TNULL{number}"] = nulls[field.name]
    for key, value in rows.properties.items():
        header.add_history(_ascii(f"{key} = {value}"))
    return header


def _new_header(cards: Sequence[tuple[Any, ...]]) -> Header:
    header: Header = import_module("astropy.io.fits").Header(cards)  # astropy is loaded where a file is written
    return header


def _with_checksums(header: Header, data_sum: int) -> bytes:
    header["DATASUM"] = str(data_sum)
    total = OnesSum()
    total.add(_blocks(header) + data_sum.to_bytes(4, "big"))
    header["CHECKSUM"] = encode_checksum(total.value)
    return _blocks(header)


def _blocks(header: Header) -> bytes:
    return str(header.tostring()).encode("ascii")


def _format(field: pa.Field, text_bytes: int) -> str:
    """Return a column's TFORM."""
    is_vector = pa.types.is_fixed_size_list(field.type)
    kind = field.type.value_type if is_vector else field.type
    if pa.types.is_boolean(kind) and not is_vector:
        return "L"
    if is_text(kind) and not is_vector:
        return f"{text_bytes}A"
    if kind not in NUMBERS:
        raise InputError(
            f"column {field.name!r} is {field.type}, which a FITS table cannot hold; leave it out, or write Parquet"
        )
    return f"{field.type.list_size if is_vector else ''}{_LETTERS[NUMBERS[kind]]}"


def _needs_null_integer(field: pa.Field) -> bool:
    return bool(field.nullable and pa.types.is_integer(field.type))


def _null_integer(field: pa.Field) -> int:
    """Return the number that stands for a null: the one least likely to be meant."""
    return int(np.iinfo(NUMBERS[field.type]).min)


def _check_vectors(piece: pa.Table) -> None:
    for field in piece.schema:
        is_of_integers = pa.types.is_fixed_size_list(field.type) and pa.types.is_integer(field.type.value_type)
        if is_of_integers and piece[field.name].null_count:
            raise InputError(
                f"column {field.name!r} has a null among vectors of integers, which a FITS table cannot hold; "
                "leave it out, or write Parquet"
            )


def _ascii_bytes(text: str) -> bytes:
    try:
        return text.encode("ascii")
    except UnicodeEncodeError:
        raise InputError(
            f"FITS holds ASCII texts only, and one is {text!r}; leave its column out, or write Parquet"
        ) from None


def _ascii(text: str) -> str:
    """Return text as a header may have it: other letters are spelt out."""
    return "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode() for c in text)
