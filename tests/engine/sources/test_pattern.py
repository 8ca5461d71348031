from __future__ import annotations

import pickle

import pyarrow as pa
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.engine.sources.pattern import MAX_NAME_LENGTH, FilePattern

TARGETS = pa.table({"object_id": [1237648702973411443, -7], "run": [752, 3], "brick": ["0001m002", "0359p123"]})


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{object_id}.jpg", ["1237648702973411443.jpg", "-7.jpg"]),
        ("{object_id:.3}/{object_id}.jpg", ["123/1237648702973411443.jpg", "-7/-7.jpg"]),
        ("{object_id:.2}/{object_id:.4}/x{object_id}", ["12/1237/x1237648702973411443", "-7/-7/x-7"]),
        ("frame-{run:06d}-{run}.fits.bz2", ["frame-000752-752.fits.bz2", "frame-000003-3.fits.bz2"]),
        ("{brick:.3}/{brick}/{{{object_id}}}", ["000/0001m002/{1237648702973411443}", "035/0359p123/{-7}"]),
        ("[{object_id}]*?.jpg", ["[1237648702973411443]*?.jpg", "[-7]*?.jpg"]),
    ],
)
def test_a_name_is_made_from_the_columns_of_its_row(text: str, names: list[str]) -> None:
    pattern = pickle.loads(pickle.dumps(FilePattern(text)))  # noqa: S301
    pattern.check(TARGETS.column_names)
    assert pattern.names(TARGETS) == names


def test_what_is_not_in_the_table_is_given_beside_it() -> None:
    pattern = FilePattern("{brick}-{band}.fits")
    assert pattern.columns == ("brick", "band")
    pattern.check(TARGETS.column_names, ("band",))
    assert pattern.names(TARGETS, band="z") == ["0001m002-z.fits", "0359p123-z.fits"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{objectid}.jpg", "no column 'objectid'; did you mean 'object_id'"),
        ("image.jpg", r"names no column.*write \{object_id\}"),
        ("", "names no column"),
        ("/data/{object_id}.jpg", "must stay inside the folder"),
        ("../{object_id}.jpg", "must stay inside the folder"),
        ("a/../../{object_id}.jpg", "must stay inside the folder"),
        ("{object_id}\n.jpg", "must stay inside the folder"),
        ("{object_id}\x00", "must stay inside the folder"),
        ("{object_id", "broken braces"),
        ("object_id}", "broken braces"),
        ("{object_id.real}", r"cannot use \{object_id.real\}"),
        ("{object_id[0]}", r"cannot use \{object_id\[0\]\}"),
        ("{object_id!r}", r"cannot use \{object_id!r\}"),
        ("{object_id:>1000000000}", "cannot use"),
        ("{object_id:.0}", "cannot use"),
        ("{object_id:{run}}", "cannot use"),
        ("{run:x}", "cannot use"),
        ("{run:06}", "cannot use"),
        ("{}", "cannot use"),
        ("{0}", "no column '0'"),
        ("{object_id}-{band:02d}", r"band is no integer; write \{band\}"),
    ],
)
def test_a_pattern_that_is_none_is_refused_before_any_work(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        FilePattern(text).check(TARGETS.column_names, ("band",))
    assert str(error.value).startswith("[images] pattern")
    assert "\n" not in str(error.value)


def test_zeros_in_front_need_an_integer_column() -> None:
    with pytest.raises(InputError, match=r"column brick is string; write \{brick\}"):
        FilePattern("{brick:06d}").names(TARGETS)


@pytest.mark.parametrize(
    "value",
    [None, "", "../x", "a/../../x", "..", "/etc/passwd", "x\x00", "x\ny", "\x1b[2J", "\u202egpj", "x" * 1_000_000],
)
@pytest.mark.parametrize("text", ["{name}", "{name}/{object_id:.1}"])
def test_a_value_that_makes_no_safe_name_gives_none(value: str | None, text: str) -> None:
    targets = pa.table({"object_id": [1, 1, 1], "name": pa.array(["a", value, "b"], pa.string())})
    assert [name is None for name in FilePattern(text).names(targets)] == [False, True, False]


def test_the_longest_name_is_still_one() -> None:
    targets = pa.table({"object_id": [1, 2], "name": ["x" * MAX_NAME_LENGTH, "x" * (MAX_NAME_LENGTH + 1)]})
    assert FilePattern("{name}").names(targets) == ["x" * MAX_NAME_LENGTH, None]
