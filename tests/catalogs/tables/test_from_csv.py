from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.tables import open_table, read_table

pytestmark = pytest.mark.timeout(20)


def read(folder: Path, text: str | bytes) -> pa.Table:
    (folder / "t.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return read_table(folder / "t.csv")


def column(folder: Path, *values: str) -> tuple[str, list[Any]]:
    table = read(folder, "i,x\n" + "".join(f"0,{value}\n" for value in values))
    return str(table.schema.field("x").type), table["x"].to_pylist()


BIG = 2**64 - 1  # an SDSS specObjID may be past 2^63


@pytest.mark.parametrize(
    ("values", "type_", "expected"),
    [
        (["1", "-9999"], "int64", [1, -9999]),
        ([str(2**63 - 1), str(-(2**63))], "int64", [2**63 - 1, -(2**63)]),
        ([str(2**63), "1"], "uint64", [2**63, 1]),
        ([str(BIG), ""], "uint64", [BIG, None]),
        ([str(BIG + 1), "1"], "string", [str(BIG + 1), "1"]),
        ([str(BIG), "-1"], "string", [str(BIG), "-1"]),
        ([str(2**62 + 1), "0.5"], "string", [str(2**62 + 1), "0.5"]),
        (["1", "0.5", "1e3"], "double", [1.0, 0.5, 1000.0]),
        (["1.2376e18", "1.2376E+18"], "double", [1.2376e18, 1.2376e18]),
        (["1", "1000000000000000.0"], "double", [1.0, 1e15]),
        ([" 17.2", "+5 ", "-inf"], "double", [17.2, 5.0, -np.inf]),
        (["null", "NaN", "17.2", " null "], "double", [None, None, 17.2, None]),
        (["true", "False", ""], "bool", [True, False, None]),
        (["0", "1"], "int64", [0, 1]),
        (["true", "2"], "string", ["true", "2"]),
        (["0012", "7"], "string", ["0012", "7"]),
        (["2026-11-23"], "string", ["2026-11-23"]),
        (["+41:16:09"], "string", ["+41:16:09"]),
        (["", "null"], "null", [None, None]),
        ([" ", "true"], "bool", [None, True]),
        ([" ", "x"], "string", [None, "x"]),
        (["=cmd()", "../x"], "string", ["=cmd()", "../x"]),
        (['"a\nb"', '"say ""x"""'], "string", ["a\nb", 'say "x"']),
        (["  M 31 ", '""'], "string", ["M 31", None]),
        (['"a\nb"', '5" or 6'], "string", ["a\nb", '5" or 6']),
        (["é", "a\0b"], "string", ["é", "a\0b"]),
    ],
)
def test_a_column_has_the_narrowest_type_that_loses_nothing(
    tmp_path: Path, values: list[str], type_: str, expected: list[Any]
) -> None:
    assert column(tmp_path, *values) == (type_, expected)


@pytest.mark.parametrize(
    ("first", "last", "type_"),
    [
        ("5", "0.25", "double"),
        ("5", str(BIG), "uint64"),
        (str(2**62 + 1), "0.25", "string"),
        ("-5", str(BIG), "string"),
        (str(BIG), "-5", "string"),
        ("0.25", str(2**62 + 1), "string"),
        ("5", "0012", "string"),
        ("5", "0x10", "string"),
        ("-0X1f", "5", "string"),
        ("true", "x", "string"),
        ("", "5", "int64"),
        ("5", "", "int64"),
    ],
)
def test_a_type_is_right_over_the_whole_file_and_not_over_its_first_block(
    tmp_path: Path, first: str, last: str, type_: str
) -> None:
    num_rows = 200_000
    table = read(tmp_path, "i,x\n" + f"0,{first}\n" * num_rows + f"1,{last}\n")
    assert str(table.schema.field("x").type) == type_
    assert table.num_rows == num_rows + 1
    convert = {"double": float, "uint64": int, "int64": int, "bool": {"true": True}.get}.get(type_, str)
    assert table["x"].value_counts().to_pylist() == [
        {"values": convert(value) if value else None, "counts": count}
        for value, count in ((first, num_rows), (last, 1))
    ]


@pytest.mark.parametrize(
    "text",
    [
        "#Table1\nobjID,ra\n5,0.5\n",
        "#Table1\r\nobjID,ra\r\n5,0.5\r\n",
        "\ufeffobjID,ra\n5,0.5\n",
        "\ufeff#Table1\n# two, comments\n\nobjID,ra\n5,0.5\n",
        "\n\nobjID,ra\n\n5,0.5\n\n",
        "objID,ra\n5,0.5",
        " objID , ra\n5, 0.5\n",
        '"objID","ra"\n"5","0.5"\n',
    ],
)
def test_the_header_is_found_below_what_services_and_spreadsheets_write(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text).to_pydict() == {"objID": [5], "ra": [0.5]}


def test_a_field_of_a_megabyte_is_read(tmp_path: Path) -> None:
    rows = [f"{k},{'x' * (10**6 if k == 150_000 else 3)}\n" for k in range(200_000)]
    table = read(tmp_path, "i,x\n" + "".join(rows))
    assert table["i"].to_pylist() == list(range(200_000))  # none is given twice by the second, larger try
    assert len(table["x"][150_000].as_py()) == 10**6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        ("#Table1\n", "it is empty"),
        ("\n\n", "it is empty"),
        ("a,b\n1,2\n3\n", "Expected 2 columns, got 1"),
        ("a,b\n1,2\n3,4,5\n", "Expected 2 columns, got 3"),
        ("a,a\n1,2\n", "more than one column 'a'"),
        ("a, a\n1,2\n", "more than one column 'a'"),
        ("1237648702973411443,12.5\n1237648702973411444,12.5\n", "first line holds numbers only"),
        ("<!DOCTYPE html>\n<html></html>", "begins like a web page"),
        (b"a,b\n1,\xff\xfe\n", "invalid UTF8"),
        (b"a,\xff\n1,2\n", "its header is no line of names in UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "its header is no line of names in UTF-8"),
        ("a,b\0\n1,2\n", "NUL"),
        ('a,"b\nc"\n1,2\n', "its header cannot be read"),
        ('a,b\n1,"x\n2,y\n3,z\n', "a quotation mark is never closed"),
        ('a,b\n1,"' + "x\n" * (17 << 20), "a row is longer than 16 MiB, or a quotation mark is never closed"),
    ],
)
def test_what_is_no_table_is_refused_with_its_reason(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, text)
    assert "t.csv" in str(caught.value)


def test_a_table_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    table = open_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("a,b\n1,x\n")
    with pytest.raises(InputError, match=r"t\.csv cannot be read"):
        list(table.batches())
    (tmp_path / "t.csv").write_text("b,a\n1,2\n")
    with pytest.raises(InputError, match="its columns changed"):
        list(table.batches())
