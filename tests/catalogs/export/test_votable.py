from __future__ import annotations

import io
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import votable
from astropy.table import Table
from support.made_catalogue import NUM_ROWS, make_table
from support.odd_table import odd_rows, odd_table

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.export.rows import Rows, rows_of_table
from skymetal.catalogs.export.votable import write_votable


def read(rows: Rows) -> Table:
    file = io.BytesIO()
    write_votable(file, rows)
    file.seek(0)
    parsed = votable.parse(file, verify="exception")
    table = parsed.get_first_table()
    assert table.nrows == rows.num_rows
    return table.to_table(use_names_over_ids=True)


def test_every_column_comes_back_with_its_words() -> None:
    table = make_table(1)
    back = read(rows_of_table(table, name="tiny", properties={"skymetal_job": "a = b, é"}))
    assert len(back) == NUM_ROWS
    assert back.colnames == table.column_names
    for field in table.schema:
        words = {key.decode(): value.decode() for key, value in field.metadata.items()}
        assert back[field.name].description == words["description"]
        assert str(back[field.name].unit or "") == words.get("unit", "")
        assert np.array_equal(back[field.name], table[field.name].to_numpy())


def test_extremes_are_exact_and_nulls_are_masked() -> None:
    back, table = read(odd_rows()), odd_table()
    for name in ("object_id", "short", "byte", "unsigned", "flags", "big", "is_it"):
        assert np.ma.asarray(back[name]).tolist() == table[name].to_pylist()
    for name in ("ra", "oh_p50", "half"):
        assert back[name].mask.tolist() == [value is None or value != value for value in table[name].to_pylist()]
    assert back["ra"][1] == 359.99999999999994
    assert back["half"][2] == 65504
    assert back["embedding"][0].tolist() == [0.5, 1.5, 2.5]
    assert back["embedding"][1].mask.all()
    assert np.ma.asarray(back["text"]).filled("").tolist() == ["one", "", "", 'a,b "c" <&>']


def test_texts_of_any_script_and_many_lines_of_base64_come_back() -> None:
    texts = [f"é{number} Ж" for number in range(70_000)]
    back = read(rows_of_table(pa.table({"text": texts, "number": range(70_000)}), name="long"))
    assert back["text"].tolist() == texts
    assert back["number"].tolist() == list(range(70_000))


def test_a_table_without_rows_is_a_table() -> None:
    assert len(read(rows_of_table(odd_table().slice(0, 0), name="none"))) == 0


def test_decimals_are_numbers_and_a_vector_of_logicals_is_named() -> None:
    sums = pa.array([Decimal(2**62), None], pa.decimal128(38, 0))
    assert np.ma.asarray(read(rows_of_table(pa.table({"sum": sums}), name="sums"))["sum"]).tolist() == [2**62, None]
    odd = pa.table({"odd": pa.array([[True]], pa.list_(pa.bool_(), 1))})
    with pytest.raises(InputError, match=r"column 'odd' is fixed_size_list<.*bool.*, which VOTable has no type for"):
        read(rows_of_table(odd, name="odd"))
