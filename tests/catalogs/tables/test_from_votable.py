from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy.io.votable import from_table
from astropy.table import Table

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.tables import from_votable, open_table, read_table

pytestmark = pytest.mark.timeout(20)

FIELDS = '<FIELD name="objID" datatype="long"/><FIELD name="name" datatype="char" arraysize="*"/>'
CELLS = "<TR><TD>1237648702973411443</TD><TD>M 31</TD></TR><TR><TD/><TD/></TR>"


def document(
    *, fields: str = FIELDS, cells: str = CELLS, data: str = "", table: str = "", before: str = "", version: str = "1.4"
) -> str:
    data = data or f"<TABLEDATA>{cells}</TABLEDATA>"
    return (
        f'<?xml version="1.0"?>{before}<VOTABLE version="{version}" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
        f"<RESOURCE><TABLE {table}>{fields}<DATA>{data}</DATA></TABLE></RESOURCE></VOTABLE>"
    )


def read(folder: Path, text: str | bytes) -> pa.Table:
    (folder / "t.vot").write_bytes(text.encode() if isinstance(text, str) else text)
    return read_table(folder / "t.vot")


@pytest.mark.parametrize("format_", ["tabledata", "binary", "binary2"])
def test_every_way_of_writing_the_rows_is_read(tmp_path: Path, format_: str) -> None:
    table = Table(
        {
            "id": np.array([2**62 + 1, -3]),
            "short": np.array([1, 2], np.int16),
            "byte": np.array([0, 255], np.uint8),
            "f": np.array([0.1, np.nan], np.float32),
            "is_good": [True, False],
            "name": ["M 31 ", ""],
            "vector": np.ones((2, 3)),
        }
    )
    votable = from_table(table)
    votable.get_first_table().format = format_
    text = io.BytesIO()
    votable.to_xml(text)
    result = read(tmp_path, text.getvalue())
    assert result.to_pydict() == {
        "id": [2**62 + 1, -3],
        "short": [1, 2],
        "byte": [0, 255],
        "f": [np.float32(0.1), None],
        "is_good": [True, False],
        "name": ["M 31", None],
    }
    assert result.schema.field("short").type == pa.int16()


def test_missing_cells_and_declared_nulls_are_null(tmp_path: Path) -> None:
    fields = (
        '<FIELD name="n" datatype="int"><VALUES null="-9999"/></FIELD><FIELD ID="m" datatype="float" arraysize="1"/>'
        '<FIELD name="s" datatype="unicodeChar" arraysize="8*"/><FIELD name="v" datatype="double" arraysize="2"/>'
    )
    cells = "<TR><TD>-9999</TD><TD/><TD/><TD/></TR><TR><TD>5</TD><TD>1.5</TD><TD>é</TD><TD>1 2</TD></TR>"
    assert read(tmp_path, document(fields=fields, cells=cells)).to_pydict() == {
        "n": [None, 5],
        "m": [None, 1.5],
        "s": [None, "é"],
    }


def test_the_first_of_several_tables_is_read(tmp_path: Path) -> None:
    one, other = document(), document(fields='<FIELD name="x" datatype="int"/>', cells="<TR><TD>1</TD></TR>")
    both = one.replace("</VOTABLE>", other[other.index("<RESOURCE>") :])
    assert read(tmp_path, both).to_pydict() == {"objID": [1237648702973411443, None], "name": ["M 31", None]}


LAUGHS = "".join(f'<!ENTITY l{k + 1} "{f"&l{k};" * 10}">' for k in range(9))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (document(before=f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]>'), "declares a document type or entities"),
        (document(before='<!DOCTYPE x SYSTEM "file:///etc/passwd">'), "declares a document type or entities"),
        (
            document(before="<!DOCTYPE x []>").replace("?>", ' encoding="UTF-16"?>', 1).encode("utf-16"),
            "declares a document type or entities",
        ),
        (document(data='<BINARY><STREAM href="file:///etc/passwd"/></BINARY>'), "its rows are in another file"),
        (
            document(data='<BINARY><STREAM encoding="gzip">x</STREAM></BINARY>'),
            "its rows are in another file or packed",
        ),
        (document(data="<FITS></FITS>"), "its rows are held as FITS"),
        (document(table='nrows="3"'), "it is cut short: its table says nrows = 3, but 2 are there"),
        (document(table='nrows="999999999999"'), "claims 999999999999 rows"),
        (document(table='nrows="-1"'), "nrows = '-1', which is no count"),
        (document(fields='<FIELD name="s" datatype="char" arraysize="99999999999"/>'), "claims 0 rows of about"),
        (document(cells="<TR><TD>99999999999999999999</TD><TD>x</TD></TR>"), "W51: .* out of range"),
        (document(cells="<TR><TD>x</TD><TD>x</TD></TR>"), "line 1: .*E|invalid literal"),
        (document(cells="<TR><TD>5</TD></TR>"), "E21"),
        (document(version="1.1"), "W49: Empty cell illegal for integer"),
        (document(fields=FIELDS.replace("*", "2")), "W46: .*too long"),
        (document(fields=FIELDS.replace('name="name"', 'name="objID"')), "more than one column 'objID'"),
        (document(fields="", cells=""), "its first table has no columns"),
        ("<VOTABLE></VOTABLE>", "it holds no table"),
        ("<html><body>503</body></html>", "it is XML, but no VOTable: it begins with <html>"),
        (document()[:-30], "it is no well-formed XML"),
        ("", "it is no well-formed XML"),
    ],
)
def test_what_cannot_be_trusted_is_refused_with_its_reason(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, text)
    assert "t.vot" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_too_large_to_be_held_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(from_votable, "MAX_BYTES", 100)
    (tmp_path / "t.vot").write_text(document())
    with pytest.raises(InputError, match="convert it to Parquet or FITS"):
        open_table(tmp_path / "t.vot")
