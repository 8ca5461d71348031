from __future__ import annotations

import pyarrow as pa
import pytest

from skymetal.catalogs.flags import MEANINGS, Flag, describe_flags
from skymetal.catalogs.schema import Column, Schema, catalogue_schema


def test_every_column_says_what_it_is() -> None:
    schema = catalogue_schema(num_folds=5, has_sky=True).to_arrow()
    assert schema.names == [
        *("object_id", "ra", "dec", "_healpix_29", "oh_p2p5", "oh_p16", "oh_p50", "oh_p84", "oh_p97p5"),
        *("oh_unshrunk", "oh_std_folds", "oh_std_views", *(f"oh_fold{k}" for k in range(5)), "is_out_of_fold"),
        *("ood_score", "flags"),
    ]
    for field in schema:
        assert field.metadata[b"description"]
        if field.name.startswith("oh_"):
            assert field.metadata[b"unit"] == b"dex"
    assert schema.field("ra").metadata[b"ucd"] == b"pos.eq.ra;meta.main"


def test_a_survey_without_positions_has_no_position_columns() -> None:
    names = catalogue_schema(num_folds=2, has_sky=False).to_arrow().names
    assert not {"ra", "dec", "_healpix_29"} & set(names)
    assert "oh_fold1" in names
    assert "oh_fold2" not in names


def test_a_column_name_may_not_repeat() -> None:
    column = Column(name="x", type=pa.int64(), description="d")
    with pytest.raises(ValueError, match="repeat"):
        Schema(columns=(column, column))


def test_every_flag_is_one_bit_with_a_meaning() -> None:
    for flag in Flag:
        assert flag.value.bit_count() == 1
        assert MEANINGS[flag]
        assert f"{flag.value} {flag.name}" in describe_flags()
