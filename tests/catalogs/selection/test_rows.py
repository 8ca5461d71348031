from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.selection.rows import OnSky, as_targets, conform, unify, with_healpix


def table_of(**columns: object) -> pa.Table:
    return pa.table({name: c if isinstance(c, pa.Array) else pa.array(c) for name, c in columns.items()})


def test_ids_of_every_size_are_kept_exactly() -> None:
    ids = [0, -1, -9999, 2**63 - 1, -(2**63)]
    assert as_targets(table_of(object_id=ids), where="t")["object_id"].to_pylist() == ids
    words = [str(value) for value in ids]
    assert as_targets(table_of(object_id=words), where="t")["object_id"].to_pylist() == ids
    unsigned = pa.array([2**63 - 1], pa.uint64())
    assert as_targets(table_of(object_id=unsigned), where="t")["object_id"].to_pylist() == [2**63 - 1]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([1, 2**63], pa.uint64()), r"t: object_id must be an integer below 2\^63: .*9223372036854775808"),
        (pa.array([1.0]), "its column is of type double; ids must not be floating-point numbers"),
        (pa.array(["7", "1e18"]), "t: object_id must be an integer, got '1e18'"),
        (pa.array(["7", "+8"]), r"got '\+8'; write it as digits alone, without a plus sign"),
        (pa.array(["0012"]), "must be an integer, got '0012'"),
        (pa.array([" 12"]), "must be an integer, got ' 12'"),
        (pa.array(["../../etc/passwd"]), "must be an integer, got '../../etc/passwd'"),
        (pa.array(["=cmd()"]), r"must be an integer, got '=cmd\(\)'"),
        (pa.array(["1\x00"]), r"must be an integer, got '1\\x00'"),
        (pa.array(["1\n2\x1b[31m"]), r"must be an integer, got '1\\n2\\x1b\[31m'"),
        (pa.array(["9" * 1_000_000]), "t: object_id must be an integer below"),
        (pa.array(["x" * 1_000_000]), "must be an integer, got 'xxx"),
        (pa.array([3, None]), "t: object_id is missing in row 12; every galaxy needs one"),
        (pa.nulls(2), "t: object_id is missing in row 11"),
        (pa.array([True]), "its column is of type bool"),
    ],
)
def test_an_id_that_is_no_int64_is_refused_in_one_short_line(column: pa.Array, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        as_targets(table_of(object_id=column), where="t", first_row=10)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def test_right_ascensions_wrap_by_rounding_only_and_the_rest_is_off_the_sky() -> None:
    ra = [360.0, -1e-17, -1e-10, 359.9999999999, 360.0 + 1e-10, -0.0, 0.0, 370.0, -1e-3, np.nan, np.inf, -np.inf, None]
    table = as_targets(table_of(object_id=range(13), ra=ra, dec=[0.0] * 13), where="t")
    kept = table.filter(OnSky().keep(table))
    assert kept["object_id"].to_pylist() == [0, 1, 2, 3, 4, 5, 6]
    wrapped = kept["ra"].to_numpy()
    assert ((wrapped >= 0) & (wrapped < 360)).all()
    assert np.abs((wrapped - np.array(ra[:7], float) + 180) % 360 - 180).max() < 1.1e-10
    assert not np.signbit(wrapped).any()
    assert (np.diff(with_healpix(kept)["_healpix_29"].to_numpy()[[0, 1, 5]]) == 0).all()


def test_declinations_end_at_the_poles() -> None:
    dec = [90.0, -90.0, 91.0, -90.5, np.nan, None, -9999.0, 90.0000001]
    table = as_targets(table_of(object_id=range(8), ra=[5.0] * 8, dec=dec), where="t")
    assert table.filter(OnSky().keep(table))["object_id"].to_pylist() == [0, 1]


@pytest.mark.parametrize(
    ("ra", "message"),
    [
        (pa.array(["00:42:44"]), "ra must be in decimal degrees, but its column is of type string, as in '00:42:44'"),
        (
            pa.array([1], pa.time32("s")),
            r"of type time32\[s\].*convert sexagesimal positions \(12:34:56.7\) to degrees",
        ),
        (pa.array([True]), "of type bool"),
    ],
)
def test_positions_that_are_no_degrees_are_refused(ra: pa.Array, message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_targets(table_of(object_id=[1], ra=ra, dec=[1.0]), where="t")


def test_half_a_position_is_refused() -> None:
    with pytest.raises(InputError, match="t has dec but not the other of ra and dec"):
        as_targets(table_of(object_id=[1], dec=[1.0]), where="t")


def test_a_group_of_the_tables_own_must_have_another_name() -> None:
    with pytest.raises(InputError, match=r"columns = \{their_group = 'group_id'\}"):
        as_targets(table_of(object_id=[1], group_id=[1]), where="t")


@pytest.mark.parametrize("kind", [pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64()])
def test_sentinels_become_null_in_every_type_that_can_hold_them(kind: pa.DataType) -> None:
    table = as_targets(table_of(object_id=[-9999, 2], x=pa.array([-9999, 3], kind)), where="t")
    assert table["x"].to_pylist() == [None, 3]
    assert table["x"].type == kind
    assert table["object_id"].to_pylist() == [-9999, 2]


def test_columns_in_unusual_types_are_carried_along() -> None:
    columns = {
        "i8": pa.array([1], pa.int8()),
        "u64": pa.array([2**64 - 1], pa.uint64()),
        "half": pa.array(np.array([1.5], np.float16)),
        "kind": pa.array(["SPIRAL"]).dictionary_encode(),
        "none": pa.nulls(1),
        "list": pa.array([[1.0, 2.0]]),
    }
    table = as_targets(table_of(object_id=[1], **columns), where="t")
    row = table.to_pylist()[0]
    assert row == {
        "object_id": 1, "i8": 1, "u64": 2**64 - 1, "half": 1.5, "kind": "SPIRAL", "none": None, "list": [1.0, 2.0],
    }  # fmt: skip
    assert table.schema.field("kind").type == pa.string()


def test_columns_of_all_tables_come_together_without_loss() -> None:
    one = table_of(object_id=[1], spec=pa.array([5]), x=pa.array([1], pa.int32()), only=["a"], empty=pa.nulls(1))
    two = table_of(object_id=[2], spec=pa.array([2**64 - 2], pa.uint64()), x=[0.5], empty=[8.5])
    schema = unify([("one", one.schema), ("two", two.schema)])
    rows = pa.concat_tables([conform(one, schema, where="one"), conform(two, schema, where="two")]).to_pylist()
    assert rows == [
        {"object_id": 1, "spec": 5, "x": 1.0, "only": "a", "empty": None},
        {"object_id": 2, "spec": 2**64 - 2, "x": 0.5, "only": None, "empty": 8.5},
    ]


def test_columns_that_do_not_go_together_are_refused_by_name() -> None:
    one, two = table_of(object_id=[1], x=["a"]).schema, table_of(object_id=[1], x=[1.0]).schema
    with pytest.raises(InputError, match="column 'x' is of type double in two but of type string in one"):
        unify([("one", one), ("two", two)])
    placed = table_of(object_id=[1], ra=[1.0], dec=[1.0]).schema
    with pytest.raises(InputError, match="two has ra and dec but one has not"):
        unify([("one", one), ("two", placed)])


def test_a_number_that_the_common_type_cannot_hold_is_refused() -> None:
    schema = pa.schema([("spec", pa.float64())])
    with pytest.raises(InputError, match=r"t: column 'spec' is of type double in all .* cannot hold it exactly"):
        conform(table_of(spec=[2**53 + 1]), schema, where="t")
    with pytest.raises(InputError, match="column 'spec' is of type uint64"):
        conform(table_of(spec=[-5]), pa.schema([("spec", pa.uint64())]), where="t")
