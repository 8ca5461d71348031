from __future__ import annotations

import pytest

from skymetal.catalogs.errors import InputError, did_you_mean, find_columns, missing_column, printable


def test_a_missing_column_is_named_with_the_nearest_one() -> None:
    error = missing_column("table t.csv", "objID", ["objid", "oh_p50"])
    assert str(error) == "table t.csv has no column 'objID'; did you mean 'objid'?"


def test_without_a_near_name_the_known_ones_are_listed_up_to_a_dozen() -> None:
    assert did_you_mean("xyz", ["a", "b"]) == "there is a, b"
    assert did_you_mean("xyz", [f"c{k}" for k in range(20)]).endswith("c11, …")


def test_control_characters_are_spelt_out() -> None:
    assert printable("a\nb\x1b[31mc é") == "a\\nb\\x1b[31mc é"


def test_the_columns_asked_for_are_found_or_named() -> None:
    assert find_columns("here", None, ["a", "b"]) == ["a", "b"]
    assert find_columns("here", ("b",), ["a", "b"]) == ["b"]
    with pytest.raises(InputError, match="here has no column 'aa'; did you mean 'a'"):
        find_columns("here", ["b", "aa"], ["a", "b"])
