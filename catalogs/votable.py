"""What the Virtual Observatory is told of our columns: one VOTable header for every file that carries it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from xml.sax.saxutils import escape, quoteattr

import pyarrow as pa

from skymetal.catalogs.errors import InputError, printable

PARQUET_VERSION_KEY = "IVOA.VOTable-Parquet.version"
PARQUET_CONTENT_KEY = "IVOA.VOTable-Parquet.content"
PARQUET_VERSION = "1.0"
"""A Parquet footer with these keys, and a VOTable without data as its content: IVOA note VOParquet 1.0."""

DATATYPES = {
    pa.bool_(): "boolean",
    pa.uint8(): "unsignedByte",
    pa.int8(): "short",
    pa.int16(): "short",
    pa.int32(): "int",
    pa.int64(): "long",
    pa.float16(): "float",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.string(): "unicodeChar",
    pa.large_string(): "unicodeChar",
}
_FRAME = "frame_icrs"


def votable_header(schema: pa.Schema, *, name: str, info: Mapping[str, str] | None = None) -> str:
    """Return a VOTable of these columns without data; ``info`` is what else a reader should know, as INFO elements.

    A field's metadata carry its unit, ucd and description. Raises as :func:`datatype` does.
    """
    return "".join(votable_around(schema, name=name, info=info))


def votable_around(
    schema: pa.Schema,
    *,
    name: str,
    info: Mapping[str, str] | None = None,
    num_rows: int | None = None,
    text_sizes: Mapping[str, int] | None = None,
) -> tuple[str, str]:
    """Return what stands before and after the DATA element; the two together are :func:`votable_header`.

    ``num_rows`` belongs only to a table with data: astropy would make as many empty rows of it. ``text_sizes`` are the
    numbers of characters of columns whose texts all have the same.
    """
    sizes = text_sizes or {}
    nrows = "" if num_rows is None else f' nrows="{num_rows}"'
    before = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<VOTABLE version="1.5" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">',
        '<RESOURCE type="results">',
        *(f"<INFO name={_quoted(key)} value={_quoted(value)}/>" for key, value in (info or {}).items()),
        f'<COOSYS ID="{_FRAME}" system="ICRS"/>',
        f'<TABLE ID="catalogue" name={_quoted(name)}{nrows}>',
        *(line for field in schema for line in _field(field, sizes.get(field.name))),
    ]
    after = ["</TABLE>", "</RESOURCE>", "</VOTABLE>"]
    return "\n".join(before) + "\n", "\n".join(after) + "\n"


def datatype(field: pa.Field) -> tuple[str, str]:
    """Return a column's VOTable datatype and arraysize, "" where it has none.

    Raises InputError for a type that VOTable has no word for.
    """
    is_vector = pa.types.is_fixed_size_list(field.type)
    element = field.type.value_type if is_vector else field.type
    if element not in DATATYPES or (is_vector and DATATYPES[element] in ("unicodeChar", "boolean")):
        raise InputError(
            f"column {field.name!r} is {field.type}, which VOTable has no type for; leave it out, or write Parquet"
        )
    if is_vector:
        return DATATYPES[element], str(field.type.list_size)
    return DATATYPES[element], "*" if DATATYPES[element] == "unicodeChar" else ""


def field_words(field: pa.Field, key: str) -> str:
    """Return a field's ``unit``, ``ucd`` or ``description``; "" where it has none."""
    return str((field.metadata or {}).get(key.encode(), b"").decode())


def _field(field: pa.Field, text_size: int | None) -> Iterator[str]:
    kind, size = datatype(field)
    size = size if text_size is None else str(text_size)
    ucd = field_words(field, "ucd")
    words = {
        "name": field.name,
        "datatype": kind,
        "arraysize": size,
        "unit": field_words(field, "unit"),
        "ucd": ucd,
        "ref": _FRAME if ucd.startswith("pos.eq.") else "",
    }
    attributes = " ".join(f"{key}={_quoted(value)}" for key, value in words.items() if value)
    description = field_words(field, "description")
    if not description:
        yield f"<FIELD {attributes}/>"
        return
    yield f"<FIELD {attributes}>"
    yield f"<DESCRIPTION>{escape(printable(description))}</DESCRIPTION>"
    yield "</FIELD>"


def _quoted(text: str) -> str:
    return quoteattr(printable(text))  # XML has no control characters
