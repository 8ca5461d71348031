from __future__ import annotations

import io
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.table import Table
from support.made_catalogue import NUM_ROWS, make_table
from support.odd_table import odd_rows, odd_table

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.export.fits import BLOCK, write_fits
from skymetal.catalogs.export.rows import Rows, rows_of_table

# FITS has no unit for dex; that `dex` is what catalogues write nevertheless.
pytestmark = pytest.mark.filterwarnings("ignore:'dex' did not parse as fits unit:astropy.units.UnitsWarning")


def written(rows: Rows) -> bytes:
    file = io.BytesIO()
    write_fits(file, rows)
    return file.getvalue()


def test_every_column_comes_back_with_its_words_and_checksums_hold() -> None:
    table = make_table(1)
    data = written(rows_of_table(table, name="tiny", properties={"skymetal_job": "a = b, é"}))
    assert len(data) % BLOCK == 0
    with fits.open(io.BytesIO(data), checksum=True) as hdus:
        hdus.verify("exception")
        assert [hdus[1].verify_checksum(), hdus[1].verify_datasum()] == [1, 1]
        header, read = hdus[1].header, Table.read(hdus[1])
    assert (header["EXTNAME"], header["NAXIS2"]) == ("tiny", NUM_ROWS)
    assert str(header["HISTORY"]) == r"skymetal_job = a = b, \xe9"
    assert read.colnames == table.column_names
    for number, field in enumerate(table.schema, start=1):
        words = {key.decode(): value.decode() for key, value in field.metadata.items()}
        assert header.get(f"TUNIT{number}", "") == words.get("unit", "")
        assert header[f"TUCD{number}"] == words["ucd"]
        assert header[f"TCOMM{number}"] == words["description"]
        assert np.array_equal(read[field.name], table[field.name].to_numpy())
    assert [str(read[name].unit) for name in ("ra", "oh_p50")] == ["deg", "dex"]


def test_extremes_are_exact_and_nulls_are_masked() -> None:
    with fits.open(io.BytesIO(written(odd_rows())), logical_as_bytes=True) as hdus:
        hdus.verify("exception")
        data = hdus[1].data
        assert data["is_it"].tolist() == [b"T", b"", b"F", b"T"]
        read = Table.read(hdus[1])
    for name in ("object_id", "short", "byte", "unsigned", "flags", "big"):
        assert np.ma.asarray(read[name]).tolist() == odd_table()[name].to_pylist()
    assert np.isnan(data["ra"]).tolist() == [False, False, True, True]
    assert data["ra"][1] == 359.99999999999994
    assert data["oh_p50"][2] == np.inf
    assert data["half"][2] == 65504
    assert data["embedding"].dtype == ">f4"
    assert data["embedding"][0].tolist() == [0.5, 1.5, 2.5]
    assert np.isnan(data["embedding"][1]).all()
    assert data["text"].tolist() == ["one", "", "", 'a,b "c" <&>']


def test_a_table_without_rows_is_a_table() -> None:
    with fits.open(io.BytesIO(written(rows_of_table(odd_table().slice(0, 0), name="none"))), checksum=True) as hdus:
        hdus.verify("exception")
        assert hdus[1].verify_checksum() == 1
        assert len(hdus[1].data) == 0


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (pa.array([[1], [2, 3]]), "column 'odd' is list<.*>, which a FITS table cannot hold"),
        (pa.array([1, 2], pa.timestamp("us")), "column 'odd' is timestamp"),
        (pa.array([1, 2], pa.uint64()), "column 'odd' is uint64"),
        (pa.array([[1, 2], None], pa.list_(pa.int32(), 2)), "column 'odd' has a null among vectors of integers"),
        (pa.array([[1, None]], pa.list_(pa.int32(), 2)), "column 'odd' has nulls in its vectors"),
        (pa.array([[True]], pa.list_(pa.bool_(), 1)), "column 'odd' is fixed_size_list<.*bool"),
        (pa.array([-(2**31), None], pa.int32()), "column 'odd' holds -2147483648, which would stand for a null"),
        (pa.array(["a", "é"]), "ASCII texts only, and one is 'é'"),
    ],
)
def test_what_fits_cannot_hold_is_named(column: pa.Array, text: str) -> None:
    with pytest.raises(InputError, match=text):
        written(rows_of_table(pa.table({"odd": column}), name="odd"))


def test_decimals_are_integers_where_they_are_whole_and_fit_and_else_floats() -> None:
    columns = {
        "sum": pa.array([Decimal(2**62), None], pa.decimal128(38, 0)),
        "huge": pa.array([Decimal(2**64), None], pa.decimal128(38, 0)),
        "half": pa.array([Decimal("1.5"), Decimal("2.0")], pa.decimal128(3, 1)),
    }
    with fits.open(io.BytesIO(written(rows_of_table(pa.table(columns), name="sums")))) as hdus:
        assert [hdus[1].header[f"TFORM{number}"] for number in (1, 2, 3)] == ["K", "D", "D"]
        read = Table.read(hdus[1])
    assert np.ma.asarray(read["sum"]).tolist() == [2**62, None]
    assert read["huge"][0] == 2.0**64
    assert read["half"].tolist() == [1.5, 2.0]
