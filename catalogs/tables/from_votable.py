"""VOTable survey tables, read with astropy, which holds a table whole: a size limit stands in for a stream."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skymetal.catalogs.errors import first_line

MAX_BYTES = 256 << 20
MAX_CLAIMED_BYTES = 4 << 30
"""What a header may claim that its table takes in memory; astropy believes it, and allocates."""

_TYPES = {
    "boolean": pa.bool_(),
    "bit": pa.bool_(),
    "unsignedByte": pa.uint8(),
    "short": pa.int16(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "char": pa.string(),
    "unicodeChar": pa.string(),
}


@dataclass
class _Outline:
    """What the markup of a file says before any value is read: the first table's columns, and what is not allowed."""

    num_open: int = 0
    num_tables: int = 0
    num_rows: int | None = None
    fields: list[dict[str, str]] = field(default_factory=list)

    def declare(self, *_: object) -> None:
        """Refuse entities before one is expanded: a kilobyte of them makes gigabytes, or reads local files."""
        raise ValueError("it declares a document type or entities, which no VOTable needs; remove its <!DOCTYPE …>")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Note one element."""
        tag = tag.rpartition(":")[2]
        if self.num_open == 0 and tag != "VOTABLE":
            raise ValueError(f"it is XML, but no VOTable: it begins with <{tag}>")
        self.num_open += 1
        if tag == "TABLE":
            self.num_tables += 1
            if self.num_tables == 1 and "nrows" in attributes:
                self.num_rows = _count(attributes["nrows"])
        elif tag == "FIELD" and self.num_tables == 1:
            self.fields.append(attributes)
        elif tag == "STREAM" and ("href" in attributes or attributes.get("encoding") != "base64"):
            raise ValueError("its rows are in another file or packed; save it with its rows inside, as TABLEDATA")
        elif tag in ("FITS", "PARQUET"):
            raise ValueError(f"its rows are held as {tag}; give that file itself")


def votable_schema(path: Path) -> pa.Schema:
    """Return the scalar columns of the first table, from its markup alone.

    Arrays and complex numbers are left out, as the vector columns of FITS are. Raises ValueError for what is no
    VOTable, for one above 256 MiB, and for one that declares entities or fetches its rows from elsewhere.
    """
    return _schema(_outline(path))


def votable_tables(path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows of the first table, all at once, in the types of ``schema``."""
    outline = _outline(path)
    if _schema(outline) != schema:
        raise ValueError("its columns changed while it was being read")
    array = _read_whole(path)
    if outline.num_rows not in (None, len(array)):
        raise ValueError(f"it is cut short: its table says nrows = {outline.num_rows}, but {len(array)} are there")
    positions = [k for k, attributes in enumerate(outline.fields) if _type(attributes) is not None]
    columns = [
        _values(array[array.dtype.names[position]], field.type)
        for position, field in zip(positions, schema, strict=True)
    ]
    yield pa.Table.from_arrays(columns, schema=schema)


def _outline(path: Path) -> _Outline:
    num_bytes = path.stat().st_size
    if num_bytes > MAX_BYTES:
        limit = f"{MAX_BYTES >> 20} MiB"
        raise ValueError(f"a VOTable is read whole, and this one is above {limit}; convert it to Parquet or FITS")
    outline = _Outline()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = outline.declare
    parser.EntityDeclHandler = outline.declare
    parser.StartElementHandler = outline.start
    try:
        with open(path, "rb") as file:
            parser.ParseFile(file)
    except expat.ExpatError as error:
        raise ValueError(f"it is no well-formed XML: {error}") from error
    if not outline.fields:
        raise ValueError("its first table has no columns" if outline.num_tables else "it holds no table")
    row_bytes = sum(_num_claimed(attributes) for attributes in outline.fields)
    if row_bytes * max(outline.num_rows or 0, 512) > MAX_CLAIMED_BYTES:
        raise ValueError(
            f"its header claims {outline.num_rows or 0} rows of about {row_bytes} bytes, which is too much"
        )
    return outline


def _num_claimed(attributes: dict[str, str]) -> int:
    """Return how many bytes a row of this column takes, roughly; a length that is not fixed takes one pointer."""
    lengths = re.findall(r"\d+", attributes.get("arraysize", "").partition("*")[0])
    return 8 * prod(int(length[:12]) for length in lengths)


def _schema(outline: _Outline) -> pa.Schema:
    types = ((_name(attributes), _type(attributes)) for attributes in outline.fields)
    return pa.schema([(name, type_) for name, type_ in types if type_ is not None])


def _name(attributes: dict[str, str]) -> str:
    return attributes.get("name") or attributes.get("ID") or ""


def _type(attributes: dict[str, str]) -> pa.DataType | None:
    type_ = _TYPES.get(attributes.get("datatype", ""))
    arraysize = attributes.get("arraysize", "1")
    is_scalar = "x" not in arraysize if type_ == pa.string() else arraysize == "1"
    return type_ if is_scalar else None


def _read_whole(path: Path) -> np.ma.MaskedArray[Any, Any]:
    votable = import_module("astropy.io.votable")  # loaded where there is such a table: astropy takes its time
    try:
        with warnings.catch_warnings(), open(path, "rb") as file:
            warnings.simplefilter("ignore")
            for changed in ("W46", "W49", "W51"):  # text cut, an empty integer made 0, an integer made the largest
                warnings.simplefilter("error", getattr(votable.exceptions, changed))
            document = votable.parse(file, table_number=0, verify="warn")
            array: np.ma.MaskedArray[Any, Any] = document.get_table_by_index(0).array
            return array
    except Exception as error:  # astropy raises what its parsers and numpy raise: a dozen kinds
        raise ValueError(re.sub(r"^None:(\d+):\d+: ", r"line \1: ", first_line(error))) from error


def _values(column: NDArray[Any], type_: pa.DataType) -> pa.Array:
    mask = np.ma.getmaskarray(column).reshape(len(column))
    values = np.ma.getdata(column).reshape(len(column))
    if pa.types.is_string(type_):
        return pa.array([str(value).strip() for value in values], pa.string(), mask=mask)
    return pa.array(values.astype(type_.to_pandas_dtype()), type_, mask=mask)


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,12}", text.strip()):
        raise ValueError(f"its table says nrows = {text[:40]!r}, which is no count")
    return int(text)
