from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import votable
from astropy.table import Table

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.schema import catalogue_schema
from skymetal.catalogs.votable import (
    PARQUET_CONTENT_KEY,
    PARQUET_VERSION,
    PARQUET_VERSION_KEY,
    votable_header,
)

SCHEMA = catalogue_schema(num_folds=2, has_sky=True, embeddings=True).to_arrow()


def parse(header: str) -> votable.tree.VOTableFile:
    return votable.parse(io.BytesIO(header.encode()), verify="exception")


def test_astropy_finds_every_column_with_its_words_and_nothing_to_complain_of() -> None:
    table = parse(votable_header(SCHEMA, name="tiny")).get_first_table()
    assert table.name == "tiny"
    assert [field.name for field in table.fields] == SCHEMA.names
    for field, column in zip(table.fields, SCHEMA, strict=True):
        words = {key.decode(): value.decode() for key, value in column.metadata.items()}
        assert str(field.unit or "") == words.get("unit", "")
        assert field.ucd == words["ucd"]
        assert field.description == words["description"]
    assert {field.name for field in table.fields if field.ref == "frame_icrs"} == {"ra", "dec"}
    assert [table.get_field_by_id_or_name(name).datatype for name in ("object_id", "oh_p50", "is_out_of_fold")] == [
        "long",
        "float",
        "boolean",
    ]
    assert table.get_field_by_id_or_name("embedding").arraysize == "512"


def test_text_that_means_something_in_xml_comes_back_as_it_was() -> None:
    field = pa.field("a", pa.string(), metadata={"description": "<1 & \"two\" 'three' é"})
    parsed = parse(votable_header(pa.schema([field]), name='<"name">', info={"job": "a = b & <é>", "bad": "\0\n"}))
    table = parsed.get_first_table()
    assert table.name == '<"name">'
    assert (table.fields[0].name, table.fields[0].description) == ("a", "<1 & \"two\" 'three' é")
    assert [(info.name, info.value) for info in parsed.resources[0].infos] == [
        ("job", "a = b & <é>"),
        ("bad", r"\x00\n"),
    ]


def test_astropy_reads_a_parquet_file_that_carries_it_with_units_and_descriptions(tmp_path: Path) -> None:
    schema = catalogue_schema(num_folds=2, has_sky=True).to_arrow()
    rows = {field.name: np.arange(4).astype(field.type.to_pandas_dtype()) for field in schema}
    footer = {PARQUET_VERSION_KEY: PARQUET_VERSION, PARQUET_CONTENT_KEY: votable_header(schema, name="tiny")}
    pq.write_table(pa.table(rows, schema=schema).replace_schema_metadata(footer), tmp_path / "part.parquet")
    table = Table.read(tmp_path / "part.parquet", format="parquet.votable")
    assert len(table) == 4
    assert table.colnames == schema.names
    assert table["object_id"].tolist() == [0, 1, 2, 3]
    assert str(table["oh_p50"].unit) == "dex"
    assert str(table["dec"].unit) == "deg"
    assert table["oh_p50"].description.startswith("predicted gas-phase 12+log(O/H)")


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.int32()), pa.timestamp("us"), pa.uint64(), pa.list_(pa.string(), 2), pa.list_(pa.bool_(), 2)],
)
def test_a_type_without_a_votable_word_is_named(kind: pa.DataType) -> None:
    with pytest.raises(InputError, match=r"column 'odd' is .*leave it out"):
        votable_header(pa.schema([pa.field("odd", kind)]), name="tiny")
