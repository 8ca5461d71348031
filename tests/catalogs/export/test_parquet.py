from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from support.made_catalogue import NUM_ROWS, make_table
from support.odd_table import odd_rows, odd_table

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.export.parquet import write_parquet
from skymetal.catalogs.export.rows import MAX_ROWS_A_PIECE, Rows, rows_of_table


def written(rows: Rows) -> io.BytesIO:
    file = io.BytesIO()
    write_parquet(file, rows)
    return file


def test_the_rows_come_back_with_every_type_null_and_word() -> None:
    back = pq.read_table(written(odd_rows()))
    assert back.schema.equals(odd_table().schema)
    assert str(back.to_pylist()) == str(odd_table().to_pylist())  # NaN is unlike itself
    assert back.schema.field("ra").metadata[b"unit"] == b"deg"
    assert back.schema.metadata[b"skymetal_job"] == "a = b, é".encode()


def test_astropy_sees_units_and_meanings() -> None:
    file = written(rows_of_table(make_table(1), name="tiny"))
    table = Table.read(file, format="parquet.votable")
    assert len(table) == NUM_ROWS
    assert str(table["oh_p50"].unit) == "dex"
    assert table["ra"].description == "ICRS right ascension"


def test_many_small_files_become_few_row_groups() -> None:
    table = pa.table({"number": range(200_000)})
    small = [table.slice(start, 777) for start in range(0, 200_000, 777)]
    rows = Rows(name="t", schema=table.schema, num_rows=200_000, properties={}, tables=lambda columns: small)
    file = pq.ParquetFile(written(rows))
    sizes = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
    assert sizes == [MAX_ROWS_A_PIECE] * 3 + [200_000 - 3 * MAX_ROWS_A_PIECE]
    assert file.read().equals(table)


def test_a_type_that_votable_has_no_word_for_is_written_without_a_votable() -> None:
    table = pa.table({"time": pa.array([1], pa.timestamp("us"))})
    back = pq.read_table(written(rows_of_table(table, name="t")))
    assert back.equals(table)
    assert not back.schema.metadata


def test_a_type_that_parquet_cannot_hold_is_named() -> None:
    table = pa.table({"age": pa.array([None], pa.month_day_nano_interval())})
    with pytest.raises(InputError, match="column 'age' is month_day_nano_interval, which Parquet cannot hold"):
        written(rows_of_table(table, name="t"))
