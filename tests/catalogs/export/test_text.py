from __future__ import annotations

import io
import json
import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from support.odd_table import odd_rows, odd_table

from skymetal.catalogs.export.rows import rows_of_table
from skymetal.catalogs.export.text import write_csv, write_json


def csv_of(table: pa.Table) -> str:
    file = io.BytesIO()
    write_csv(file, rows_of_table(table, name="t"))
    return file.getvalue().decode()


def json_of(table: pa.Table) -> list[dict[str, object]]:
    file = io.BytesIO()
    write_json(file, rows_of_table(table, name="t"))
    return [json.loads(line) for line in file.getvalue().splitlines()]


def test_csv_has_every_number_exactly_and_nulls_as_empty_fields() -> None:
    file = io.BytesIO()
    write_csv(file, odd_rows())
    assert file.getvalue().decode().splitlines() == [
        '"object_id","ra","oh_p50","short","byte","unsigned","flags","big","is_it","half","text","embedding"',
        '-9223372036854775807,0.1,8.1,-32767,-128,0,33,9007199254740993,true,0.5,"one","[0.5, 1.5, 2.5]"',
        "0,359.99999999999994,,,,,,,,,,",
        '9223372036854775807,,inf,32767,127,255,2147483647,-1,false,65504,"","[0, -1, 1]"',
        '1237648720716497094,nan,1e-7,0,0,1,0,0,true,-0,"a,b ""c"" <&>","[1, 2, 3]"',
    ]


def test_floats_come_back_from_text_to_the_last_bit() -> None:
    rng = np.random.default_rng(1)
    doubles = rng.normal(size=3000) * 10.0 ** rng.integers(-300, 300, 3000)
    singles = (rng.normal(size=3000) * 10.0 ** rng.integers(-30, 30, 3000)).astype(np.float32)
    table = pa.table({"double": doubles, "single": singles})
    lines = [line.split(",") for line in csv_of(table).splitlines()[1:]]
    assert [float(double) for double, _ in lines] == doubles.tolist()
    assert np.array_equal(np.array([single for _, single in lines], np.float32), singles)
    rows = json_of(table)
    assert [row["double"] for row in rows] == doubles.tolist()
    assert np.array_equal(np.array([row["single"] for row in rows], np.float32), singles)


def test_json_has_a_valid_object_a_line() -> None:
    file = io.BytesIO()
    write_json(file, odd_rows())
    rows = [json.loads(line, parse_constant=lambda word: 1 / 0) for line in file.getvalue().splitlines()]
    for name in ("object_id", "short", "flags", "big", "is_it", "text", "embedding"):
        assert [row[name] for row in rows] == odd_table()[name].to_pylist()
    assert [row["ra"] for row in rows] == [0.1, 359.99999999999994, None, None]
    assert [row["oh_p50"] for row in rows] == [8.1, None, None, 1e-7]


def test_what_a_query_may_give_is_written_too() -> None:
    table = pa.table(
        {
            'é "x"': pa.array([[1, None], None, []], pa.list_(pa.int64())),
            "time": pa.array([0, None, 1], pa.timestamp("us")),
            "kind": pa.array(["a", None, "b"]).dictionary_encode(),
            "pair": pa.array([{"x": 1.5}, None, {"x": math.inf}], pa.struct({"x": pa.float64()})),
        }
    )
    first, second, third = json_of(table)
    assert first == {'é "x"': [1, None], "time": "1970-01-01 00:00:00", "kind": "a", "pair": {"x": 1.5}}
    assert second == dict.fromkeys(table.column_names)
    assert third['é "x"'] == []
    assert third["pair"] == {"x": None}
    assert csv_of(table).splitlines() == [
        '"é ""x""","time","kind","pair"',
        '"[1, null]",1970-01-01 00:00:00.000000,"a","{""x"": 1.5}"',
        ",,,",
        '"[]",1970-01-01 00:00:00.000001,"b","{""x"": null}"',
    ]


def test_a_table_without_rows_has_its_header_alone() -> None:
    assert csv_of(odd_table().select(["ra", "text"]).slice(0, 0)) == '"ra","text"\n'
    assert json_of(odd_table().slice(0, 0)) == []


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        (pa.float32(), ["8.5", "nan", "1"]),
        (pa.int64(), ['"8"', '""', '"1"']),
        (pa.string(), ['"a"', '""', '"b"']),
    ],
)
def test_a_null_in_the_only_column_is_no_blank_line(kind: pa.DataType, lines: list[str]) -> None:
    values = {pa.float32(): [8.5, None, 1.0], pa.int64(): [8, None, 1], pa.string(): ["a", None, "b"]}[kind]
    text = csv_of(pa.table({"x": pa.array(values, kind)}))
    assert text.splitlines() == ['"x"', *lines]
    frame = pd.read_csv(io.StringIO(text))
    assert [None if value != value else value for value in frame["x"].tolist()] == values


def test_decimals_are_numbers() -> None:
    column = pa.array([Decimal("12345678901234567890123"), None, Decimal(-1)], pa.decimal128(38, 0))
    pairs = pa.array([{"x": Decimal("1.5")}, None, {"x": Decimal("2.0")}], pa.struct({"x": pa.decimal128(3, 1)}))
    rows = json_of(pa.table({"sum": column, "half": pa.array([Decimal("0.5")] * 3), "pair": pairs}))
    assert [row["sum"] for row in rows] == [12345678901234567890123, None, -1]
    assert rows[0]["half"] == 0.5
    assert [row["pair"] for row in rows] == [{"x": 1.5}, None, {"x": 2}]
