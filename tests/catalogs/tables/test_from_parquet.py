from __future__ import annotations

import datetime
import decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.tables import open_table, read_table

pytestmark = pytest.mark.timeout(20)


def test_scalar_columns_are_kept_and_the_others_left_out(tmp_path: Path) -> None:
    noon = datetime.datetime(2026, 11, 23, 12)
    id_ = decimal.Decimal(2**64 - 1)
    table = pa.table(
        {
            "id": pa.array([2**64 - 1], pa.uint64()),
            "type": pa.array(["EXP"]).dictionary_encode(),
            "large": pa.array(["x"], pa.large_string()),
            "view": pa.array(["x"], pa.string_view()),
            "half": pa.array(np.array([1.5], np.float16)),
            "when": pa.array([noon], pa.timestamp("us")),
            "day": pa.array([noon.date()], pa.date32()),
            "dec": pa.array([decimal.Decimal("1.125")], pa.decimal128(9, 3)),
            "count": pa.array([decimal.Decimal(12)], pa.decimal128(18, 0)),
            "specObjID": pa.array([id_], pa.decimal128(20, 0)),
            "a.b": [7],
            "a": [{"b": 1}],
            "list": [[1, 2]],
            "vector": pa.array([[1.0, 2.0]], pa.list_(pa.float64(), 2)),
            "bytes": [b"x\xff"],
            "uuid": pa.array([b"0123456789abcdef"], pa.binary(16)),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").to_pydict() == {
        "id": [2**64 - 1],
        "type": ["EXP"],
        "large": ["x"],
        "view": ["x"],
        "half": [1.5],
        "when": [noon],
        "day": [noon.date()],
        "dec": [1.125],
        "count": [12],
        "specObjID": [str(2**64 - 1)],
        "a.b": [7],
    }


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view(), None])
def test_text_that_is_written_as_bytes_is_text_and_other_bytes_are_left_out(
    tmp_path: Path, kind: pa.DataType | None
) -> None:
    words = [b"EXP", None, b"", "é".encode()] * 1000
    text = pa.array(words, kind) if kind else pa.array(words).dictionary_encode()
    late = pa.array([*words[:-1], b"\xe9"], kind or pa.binary())
    table = pa.table({"type": text, "late": late, "x": range(4000)})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=1000)
    read = read_table(tmp_path / "t.parquet")
    assert read.column_names == ["type", "x"]
    assert read["type"].to_pylist() == ["EXP", None, None, "é"] * 1000


def test_the_metadata_of_the_writer_stays_behind(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}).replace_schema_metadata({"pandas": "{}"}), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table.schema.metadata is None
    assert table.schema.field("x").metadata is None


def test_a_column_named_twice_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="more than one column 'a'"):
        open_table(tmp_path / "t.parquet")


def test_a_file_of_nested_columns_only_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [[1]]}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="it has no column that holds one number or text a row"):
        open_table(tmp_path / "t.parquet")


def test_a_flipped_bit_in_a_page_with_a_checksum_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    options = {"compression": "none", "use_dictionary": False}
    pq.write_table(pa.table({"id": np.arange(1000)}), path, write_page_checksum=True, **options)
    data = bytearray(path.read_bytes())
    data[data.index(np.int64(500).tobytes())] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="CRC"):
        read_table(path)


class Keys(pe.KmsClient):  # type: ignore[misc]
    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        return key_bytes.hex().encode()


def test_an_encrypted_file_is_refused(tmp_path: Path) -> None:
    config = pe.EncryptionConfiguration(footer_key="k", uniform_encryption=True)
    factory = pe.CryptoFactory(lambda _: Keys())
    table = pa.table({"id": [1]})
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), config)
    with pq.ParquetWriter(tmp_path / "t.parquet", table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    assert (tmp_path / "t.parquet").read_bytes().endswith(b"PARE")
    with pytest.raises(InputError, match=r"cannot be read: .*encrypted"):
        open_table(tmp_path / "t.parquet")


def test_a_table_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "t.parquet")
    table = open_table(tmp_path / "t.parquet")
    pq.write_table(pa.table({"x": [1.5]}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="its columns changed"):
        list(table.batches())
