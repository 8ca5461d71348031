"""FITS survey tables: the first binary table of a file, a slice of rows at a time.

The table is decoded here and not by astropy, for three reasons: memory that does not grow with the file, integers
that stay exact, and files from strangers, whose every size is checked before it is used. The format is that of the
FITS standard 4.0, section 7.3.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from skymetal.catalogs.fits.header import Hdu, walk_hdus
from skymetal.catalogs.fits.plain_file import file_size, open_plain

SLICE_BYTES = 8 << 20
"""How much of the table is held at a time. A row must fit in it."""
MAX_UNPACKED_BYTES = 16 << 30
"""What a packed table may unfold to, on disk, in the folder that TMPDIR names."""

_FORMAT = re.compile(r"(\d{0,9})([LXBIJKAEDCMPQ])(\d{0,9})")
_NUM_BYTES = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}
_NUMPY = {"L": "u1", "X": "u1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
_PLAIN = {"B": pa.uint8(), "I": pa.int16(), "J": pa.int32(), "K": pa.int64(), "E": pa.float32(), "D": pa.float64()}
# A column whose zero point is half its range holds the other kind of integer (section 5.2.5 of the standard).
_FLIPPED = {
    ("B", -(2**7)): pa.int8(),
    ("I", 2**15): pa.uint16(),
    ("J", 2**31): pa.uint32(),
    ("K", 2**63): pa.uint64(),
}


@dataclass(frozen=True, kw_only=True)
class _Field:
    """One column that is read: where it stands in a row, and how its bytes become values."""

    name: str
    code: str
    offset: int
    num_bytes: int
    type: pa.DataType
    scale: float = 1.0
    zero: float = 0.0
    null: int | None = None

    @property
    def numpy(self) -> str:
        return f"S{self.num_bytes}" if self.code == "A" else _NUMPY[self.code]


def fits_schema(path: Path) -> pa.Schema:
    """Return the scalar columns of the first table in the file.

    Vectors, variable-length arrays and complex numbers are left out. Text loses the blanks around it, TNULL and an
    undefined logical become null, unsigned integers are exact, TSCAL makes a float64.
    Raises ValueError (FitsError among them) for what is no FITS table.
    """
    with _unpacked(path) as file:
        return _schema(_fields(_first_table(file).cards))


def fits_tables(path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows, a slice of the table at a time, in the types of ``schema``."""
    with _unpacked(path) as file:
        table = _first_table(file)
        fields = _fields(table.cards)
        if _schema(fields) != schema:
            raise ValueError("its columns changed while it was being read")
        row_bytes = _count(table.cards, "NAXIS1")
        layout = np.dtype(
            {
                "names": [f"{k}" for k in range(len(fields))],
                "formats": [field.numpy for field in fields],
                "offsets": [field.offset for field in fields],
                "itemsize": row_bytes,
            }
        )
        for data in _slices(file, table, SLICE_BYTES // row_bytes * row_bytes):
            rows = np.frombuffer(data, layout)
            arrays = [_values(field, rows[f"{k}"]) for k, field in enumerate(fields)]
            yield pa.Table.from_arrays(arrays, schema=schema)


@contextmanager
def _unpacked(path: Path) -> Iterator[BinaryIO]:
    """Open the file, packed or not whatever its name says: browsers unpack what they download and keep the name."""
    with (
        tempfile.TemporaryFile(prefix="skymetal-") as plain,
        open_plain(path, max_bytes=MAX_UNPACKED_BYTES, into=plain) as file,
    ):
        yield file


def _slices(file: BinaryIO, table: Hdu, slice_bytes: int) -> Iterator[bytes]:
    """Yield the rows' bytes piece by piece, then compare the whole data with DATASUM where the header has one."""
    num_left = _count(table.cards, "NAXIS1") * _count(table.cards, "NAXIS2")
    padded_bytes = -(-table.data_bytes // 2880) * 2880
    num_after = padded_bytes - num_left  # the heap of variable arrays, and the padding
    total, odd = 0, b""
    file.seek(table.data_start)
    while num_left or num_after:
        data = file.read(min(slice_bytes, num_left or num_after))
        if num_left:
            if len(data) < min(slice_bytes, num_left):
                raise ValueError(f"it is cut short: {num_left - len(data)} bytes of its rows are not there")
            yield data
            num_left -= len(data)
        elif not data:
            break  # the last block need not be padded
        else:
            num_after -= len(data)
        odd += data
        whole = len(odd) // 4 * 4
        total += int(np.frombuffer(odd[:whole], ">u4").sum(dtype=np.uint64))
        odd = odd[whole:]
    total += int.from_bytes(odd.ljust(4, b"\0"), "big")
    recorded = str(table.cards.get("DATASUM", "")).strip()
    # A sum of ones' complement (appendix J of the standard), in which 0 and 2^32 - 1 are the same.
    if recorded.isdecimal() and (total - int(recorded)) % (2**32 - 1):
        raise ValueError("its DATASUM is not that of its data; it is damaged, or was edited without a new sum")


def _first_table(file: BinaryIO) -> Hdu:
    for hdu in walk_hdus(file, size=file_size(file)):
        if hdu.kind == "TABLE":
            raise ValueError("its table is an ASCII table; convert it to a binary one, or to CSV")
        if hdu.is_table:
            if hdu.cards.get("ZTABLE"):
                raise ValueError("its table is compressed; unpack it with funpack")
            return hdu
    raise ValueError("it holds no table, only images")


def _schema(fields: list[_Field]) -> pa.Schema:
    return pa.schema([(field.name, field.type) for field in fields])


def _fields(cards: dict[str, Any]) -> list[_Field]:
    """Return the scalar columns; raise ValueError where the header contradicts itself."""
    fields: list[_Field] = []
    offset, row_bytes = 0, _count(cards, "NAXIS1")
    for number in range(1, _count(cards, "TFIELDS") + 1):
        match = _FORMAT.match(str(cards.get(f"TFORM{number}", "")).strip())
        if match is None:
            raise ValueError(f"column {number} has the unknown format TFORM{number} = {cards.get(f'TFORM{number}')!r}")
        repeat, code = int(match[1] or 1), match[2]
        num_bytes = -(-repeat // 8) if code == "X" else repeat * _NUM_BYTES[code]
        is_words = code == "A" and match[3] and int(match[3]) < repeat  # 40A8: five words of eight letters
        if not is_words and _is_scalar(cards, number, code=code, repeat=repeat):
            fields.append(_field(cards, number, code=code, offset=offset, num_bytes=num_bytes))
        offset += num_bytes
    if offset != row_bytes:
        raise ValueError(f"its columns take {offset} bytes a row, but its header says NAXIS1 = {row_bytes}")
    if row_bytes == 0:
        raise ValueError("its rows are empty: NAXIS1 = 0")
    if row_bytes > SLICE_BYTES:
        raise ValueError(f"its rows of {row_bytes} bytes are longer than {SLICE_BYTES >> 20} MiB")
    return fields


def _is_scalar(cards: dict[str, Any], number: int, *, code: str, repeat: int) -> bool:
    if code != "A":
        return repeat == 1 and code not in "CMPQ"
    # TDIM = (8,5) says the same as 40A8; only (40) or (40,1) is one text.
    lengths = [int(length) for length in re.findall(r"\d{1,9}", str(cards.get(f"TDIM{number}", "")))]
    return repeat > 0 and math.prod(lengths[1:]) == 1


def _field(cards: dict[str, Any], number: int, *, code: str, offset: int, num_bytes: int) -> _Field:
    name = str(cards.get(f"TTYPE{number}", f"col{number}")).strip()
    if code in "ALX":
        type_ = pa.string() if code == "A" else pa.bool_()
        return _Field(name=name, code=code, offset=offset, num_bytes=num_bytes, type=type_)
    scale, zero = (_number(cards, f"{key}{number}", default) for key, default in (("TSCAL", 1), ("TZERO", 0)))
    if scale == 0:
        raise ValueError(f"column {name!r} has TSCAL{number} = 0, which makes all its values one")
    if code == "K" and math.isclose(zero, 2**63, rel_tol=1e-13):
        zero = 2**63  # some write 9.22337203685477E+18, in the fifteen digits of a float
    null = cards.get(f"TNULL{number}") if code in "BIJK" else None
    if null is not None and (isinstance(null, bool) or not isinstance(null, int)):
        raise ValueError(f"column {name!r} has TNULL{number} = {null!r}, which is no integer")
    type_ = _PLAIN[code]
    if scale == 1 and (code, zero) in _FLIPPED:
        type_ = _FLIPPED[code, int(zero)]
    elif (scale, zero) != (1, 0):
        is_whole = scale == 1 and code in "BIJK" and float(zero).is_integer() and abs(zero) <= 2**53
        type_ = pa.int64() if is_whole else pa.float64()
    return _Field(
        name=name, code=code, offset=offset, num_bytes=num_bytes, type=type_, scale=scale, zero=zero, null=null
    )


def _values(field: _Field, raw: NDArray[Any]) -> pa.Array:
    if field.code == "A":
        return _text(field, raw)
    if field.code == "L":
        return pa.array(raw == ord("T"), mask=~np.isin(raw, [ord("T"), ord("F")]))
    if field.code == "X":
        return pa.array((raw & 0x80) != 0)
    native = raw.astype(raw.dtype.newbyteorder("="))
    mask = None if field.null is None else native == field.null
    if (field.scale, field.zero) == (1, 0):
        return pa.array(native, mask=mask)
    if (field.code, field.zero) in _FLIPPED and field.scale == 1:
        # To add half the range is to flip the highest bit: exact, and without overflow.
        bits = native.view(f"u{field.num_bytes}") ^ np.array(1 << (8 * field.num_bytes - 1), f"u{field.num_bytes}")
        return pa.array(bits.view(field.type.to_pandas_dtype()), mask=mask)
    if pa.types.is_integer(field.type):
        return pc.add_checked(pa.array(native.astype(np.int64), mask=mask), pa.scalar(int(field.zero), pa.int64()))
    return pa.array(native.astype(np.float64) * field.scale + field.zero, mask=mask)


def _text(field: _Field, raw: NDArray[Any]) -> pa.Array:
    try:
        # pa.array takes it up to the first NUL, which ends a text in FITS.
        text = pc.cast(pa.array(np.ascontiguousarray(raw)), pa.string())
    except pa.ArrowInvalid as error:
        raise ValueError(f"column {field.name!r} holds text that is neither ASCII nor UTF-8") from error
    return pc.ascii_trim(text, characters=" ")


def _number(cards: dict[str, Any], key: str, default: int) -> float:
    value = cards.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"its header has {key} = {value!r}, which is no number")
    return value


def _count(cards: dict[str, Any], key: str) -> int:
    value = cards.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"its header has {key} = {value!r}, which is no count")
    return value
