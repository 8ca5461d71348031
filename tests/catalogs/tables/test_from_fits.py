from __future__ import annotations

import gzip
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.table import Table

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.tables import from_fits, open_table, read_table

pytestmark = pytest.mark.timeout(20)


def write(path: Path, *columns: fits.Column, primary: fits.PrimaryHDU | None = None) -> Path:
    table = fits.BinTableHDU.from_columns(list(columns))
    fits.HDUList([primary or fits.PrimaryHDU(), table]).writeto(path)
    return path


def one(folder: Path, format_: str, array: Any, **options: Any) -> tuple[str, list[Any]]:
    table = read_table(write(folder / "t.fits", fits.Column("x", format_, array=array, **options)))
    return str(table.schema.field("x").type), table["x"].to_pylist()


@pytest.mark.parametrize(
    ("format_", "array", "options", "type_", "expected"),
    [
        ("I", [1, -32768], {}, "int16", [1, -32768]),
        ("J", [1, -9], {"null": -9}, "int32", [1, None]),
        ("K", [2**63 - 1, -(2**63)], {}, "int64", [2**63 - 1, -(2**63)]),
        ("K", np.array([2**64 - 1, 0, 2**63 + 1], np.uint64), {"bzero": 2**63}, "uint64", [2**64 - 1, 0, 2**63 + 1]),
        ("J", np.array([2**32 - 1, 0], np.uint32), {"bzero": 2**31}, "uint32", [2**32 - 1, 0]),
        ("I", np.array([65535, 0], np.uint16), {"bzero": 2**15}, "uint16", [65535, 0]),
        ("B", [0, 255], {}, "uint8", [0, 255]),
        ("E", [1.5, np.nan, np.inf], {}, "float", [1.5, None, np.inf]),
        ("D", [1e-300, np.nan], {}, "double", [1e-300, None]),
        ("1D", [0.1], {}, "double", [0.1]),
        ("L", [True, False], {}, "bool", [True, False]),
        ("1X", np.array([[True], [False]]), {}, "bool", [True, False]),
        ("4A", ["EXP ", "PSF", ""], {}, "string", ["EXP", "PSF", None]),
        ("22A", ["   299489676975171584", "  a b  "], {}, "string", ["299489676975171584", "a b"]),
        ("3A", ["abc"], {"dim": "(3)"}, "string", ["abc"]),
    ],
)
def test_a_column_is_exact_in_its_own_type(
    tmp_path: Path, format_: str, array: Any, options: dict[str, Any], type_: str, expected: list[Any]
) -> None:
    assert one(tmp_path, format_, np.array(array), **options) == (type_, expected)


def patched(path: Path, **cards: Any) -> Path:
    """Change the table's header as a careless writer would, without touching its data."""
    with fits.open(path, mode="update", memmap=False, disable_image_compression=True) as hdus:
        raw = path.read_bytes()
        start = hdus[1].fileinfo()["hdrLoc"]
        stop = hdus[1].fileinfo()["datLoc"]
        header = hdus[1].header.copy()
    for name, value in cards.items():
        header[name] = value
    text = header.tostring(padding=True).encode()
    path.write_bytes(raw[:start] + text + raw[stop:])
    return path


@pytest.mark.parametrize(
    ("format_", "raw", "cards", "type_", "expected"),
    [
        ("I", [1, 2, -1], {"TSCAL1": 0.5, "TZERO1": 10.0, "TNULL1": -1}, "double", [10.5, 11.0, None]),
        ("E", [1, 2, np.nan], {"TSCAL1": 0.1}, "double", [0.1, 0.2, None]),
        ("B", [0, 128, 255], {"TZERO1": -128}, "int8", [-128, 0, 127]),
        ("J", [0, 5, -1], {"TZERO1": 2.147483648e9}, "uint32", [2**31, 2**31 + 5, 2**31 - 1]),
        ("K", [2**60, 0, -1], {"TZERO1": 2**50}, "int64", [2**60 + 2**50, 2**50, 2**50 - 1]),
        ("K", [0, -(2**63), 5], {"TZERO1": 9.223372036854775808e18, "TNULL1": 5}, "uint64", [2**63, 0, None]),
        ("K", [0, -(2**63)], {"TZERO1": 2**63}, "uint64", [2**63, 0]),
    ],
)
def test_scaled_columns_follow_their_header(
    tmp_path: Path, format_: str, raw: list[Any], cards: dict[str, Any], type_: str, expected: list[Any]
) -> None:
    path = patched(write(tmp_path / "t.fits", fits.Column("x", format_, array=np.array(raw))), **cards)
    table = read_table(path)
    assert str(table.schema.field("x").type) == type_
    assert table["x"].to_pylist() == expected


def test_an_undefined_logical_is_null(tmp_path: Path) -> None:
    path = write(tmp_path / "t.fits", fits.Column("x", "L", array=np.array([True, False, True])))
    path.write_bytes(path.read_bytes().replace(b"TFT\0", b"TF\0\0"))
    assert read_table(path)["x"].to_pylist() == [True, False, None]


def test_vectors_complex_numbers_and_variable_arrays_are_left_out(tmp_path: Path) -> None:
    ragged = np.empty(2, object)
    ragged[:] = [np.array([1, 2]), np.array([3])]
    path = write(
        tmp_path / "t.fits",
        fits.Column("v", "5E", array=np.ones((2, 5))),
        fits.Column("c", "C", array=np.ones(2, np.complex64)),
        fits.Column("id", "K", array=np.array([2**62 + 1, 2])),
        fits.Column("p", "PJ()", array=ragged),
        fits.Column("bits", "2B", array=np.ones((2, 2))),
        fits.Column("words", "10A", array=np.array(["a    b", "c    d"])),
        fits.Column("none", "0E", array=np.zeros((2, 0))),
        fits.Column("s", "3A", array=np.array(["x", "yz"])),
    )
    assert read_table(patched(path, TFORM5="12X", TDIM6="(5,2)")).to_pydict() == {
        "id": [2**62 + 1, 2],
        "s": ["x", "yz"],
    }


def test_the_first_table_is_taken_wherever_it_stands(tmp_path: Path) -> None:
    hdus = [
        fits.PrimaryHDU(np.zeros((3, 5))),
        fits.ImageHDU(np.ones((40, 40), np.int16)),
        fits.CompImageHDU(np.ones((40, 40), np.int16), compression_type="RICE_1"),
        fits.BinTableHDU(Table({"id": [7, 8]})),
        fits.BinTableHDU(Table({"other": [1.5]})),
    ]
    fits.HDUList(hdus).writeto(tmp_path / "t.fits")
    assert read_table(tmp_path / "t.fits").to_pydict() == {"id": [7, 8]}


def test_a_download_that_was_unpacked_or_packed_on_the_way_is_read_all_the_same(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.fits", fits.Column("x", "K", array=np.array([5]))).read_bytes()
    (tmp_path / "b.fits.gz").write_bytes(plain)
    (tmp_path / "c.fits").write_bytes(gzip.compress(plain))
    (tmp_path / "d.fits.gz").write_bytes(gzip.compress(plain))
    for name in ("a.fits", "b.fits.gz", "c.fits", "d.fits.gz"):
        assert read_table(tmp_path / name)["x"].to_pylist() == [5]


def test_every_row_of_a_long_table_is_given_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_fits, "SLICE_BYTES", 1000)  # not a divisor of the table
    ids = np.random.default_rng(5).integers(0, 2**62, 1001)
    path = write(tmp_path / "t.fits", fits.Column("id", "K", array=ids), fits.Column("m", "E", array=ids * 1e-18))
    table = read_table(path)
    assert table["id"].to_pylist() == ids.tolist()
    assert table["m"].to_pylist() == (ids * 1e-18).astype(np.float32).tolist()


def test_what_astropy_reads_is_what_is_read(real_data: Path) -> None:
    path = real_data / "legacy-tables" / "sweep-310m005-320p000.fits"
    ours = read_table(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy warns of units
        theirs = Table.read(path)
    assert ours.column_names == [name for name in theirs.colnames if theirs[name].ndim == 1]
    for name in ours.column_names:
        assert ours[name].to_pylist() == [
            value.strip() or None if isinstance(value, str) else value for value in theirs[name].tolist()
        ]


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"TFORM1": "3Z"}, r"column 1 has the unknown format TFORM1 = '3Z'"),
        ({"TFORM1": ""}, "column 1 has the unknown format"),
        ({"TFORM1": "-1K"}, "column 1 has the unknown format"),
        ({"TFORM1": "2K"}, "its columns take 24 bytes a row, but its header says NAXIS1 = 16"),
        ({"TFORM1": "999999999K"}, "its columns take 8000000000 bytes a row"),
        ({"TFIELDS": 1}, "its columns take 8 bytes a row"),
        ({"TFIELDS": 3}, "column 3 has the unknown format"),
        ({"TFIELDS": -1}, "TFIELDS"),
        ({"TFIELDS": 10**9}, "TFIELDS"),
        ({"NAXIS2": 10**12}, "short data|NAXIS2"),
        ({"NAXIS1": 2**40, "NAXIS2": 2**40}, "short data"),
        ({"NAXIS1": 0}, "not FITS: HDU 2"),
        ({"TSCAL1": 0}, "TSCAL1 = 0"),
        ({"TSCAL1": "x"}, "TSCAL1 = 'x', which is no number"),
        ({"TZERO1": True}, "TZERO1 = True, which is no number"),
        ({"TZERO1": 1e9, "TFORM1": "K", "TSCAL1": True}, "TSCAL1 = True, which is no number"),
        ({"TNULL1": 1.5}, "TNULL1 = 1.5, which is no integer"),
        ({"TTYPE2": "a"}, "more than one column 'a'"),
        ({"ZTABLE": True}, "its table is compressed; unpack it with funpack"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, cards: dict[str, Any], message: str) -> None:
    columns = [fits.Column(name, "K", array=np.array([2**62, 5])) for name in ("a", "b")]
    path = patched(write(tmp_path / "t.fits", *columns), **cards)
    with pytest.raises(InputError, match=message) as caught:
        read_table(path)
    assert "t.fits cannot be read" in str(caught.value) or "more than one" in str(caught.value)


def test_other_kinds_of_fits_files_are_refused_by_what_they_are(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.ones((4, 4))).writeto(tmp_path / "image.fits")
    ascii_table = fits.TableHDU.from_columns([fits.Column("x", "I4", array=np.array([1]), ascii=True)])
    fits.HDUList([fits.PrimaryHDU(), ascii_table]).writeto(tmp_path / "ascii.fits")
    write(tmp_path / "vectors.fits", fits.Column("v", "5E", array=np.ones((2, 5))))
    write(tmp_path / "latin.fits", fits.Column("s", "3A", array=np.array([b"\xe9t\xe9"])))
    for name, message in [
        ("image.fits", "it holds no table, only images"),
        ("ascii.fits", "an ASCII table; convert it"),
        ("vectors.fits", "it has no column that holds one number or text a row"),
        ("latin.fits", "column 's' holds text that is neither ASCII nor UTF-8"),
    ]:
        with pytest.raises(InputError, match=message):
            read_table(tmp_path / name)


@pytest.mark.parametrize("num_rows", [1, 7, 1001])
def test_a_flipped_bit_in_a_table_with_a_checksum_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_rows: int
) -> None:
    monkeypatch.setattr(from_fits, "SLICE_BYTES", 500)
    ids = np.random.default_rng(6).integers(0, 2**62, num_rows)
    ragged = np.empty(num_rows, object)
    ragged[:] = [np.arange(k % 3, dtype=np.int16) for k in range(num_rows)]
    columns = [fits.Column("id", "K", array=ids), fits.Column("s", "3A", array=np.full(num_rows, "abc"))]
    table = fits.BinTableHDU.from_columns([*columns, fits.Column("p", "PI()", array=ragged)])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "t.fits", checksum=True)
    assert read_table(tmp_path / "t.fits")["id"].to_pylist() == ids.tolist()
    data = bytearray((tmp_path / "t.fits").read_bytes())
    data[data.rindex(ids[-1:].astype(">i8").tobytes()) + 7] ^= 1
    (tmp_path / "t.fits").write_bytes(data)
    with pytest.raises(InputError, match="its DATASUM is not that of its data"):
        read_table(tmp_path / "t.fits")


def test_a_checksum_holds_without_the_padding_that_some_writers_leave_out(tmp_path: Path) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("s", "3A", array=np.full(5, "abc"))])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "t.fits", checksum=True)
    (tmp_path / "t.fits").write_bytes((tmp_path / "t.fits").read_bytes().rstrip(b"\0"))
    assert read_table(tmp_path / "t.fits")["s"].to_pylist() == ["abc"] * 5


def test_a_gzip_bomb_is_refused_before_it_fills_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_fits, "MAX_UNPACKED_BYTES", 1 << 22)
    (tmp_path / "t.fits.gz").write_bytes(gzip.compress(bytes(1 << 26), 9))
    with pytest.raises(InputError, match=r"t\.fits\.gz cannot be read: unfolds too far: to more than"):
        open_table(tmp_path / "t.fits.gz")


def test_a_table_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.fits", fits.Column("x", "K", array=np.array([5])))
    table = open_table(path)
    path.unlink()
    write(path, fits.Column("x", "J", array=np.array([5])))
    with pytest.raises(InputError, match="its columns changed"):
        pa.concat_tables(table.batches())
