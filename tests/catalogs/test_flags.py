from __future__ import annotations

import pytest

from skymetal.catalogs.flags import Flag, decode_flags


def test_a_mask_is_told_by_the_names_of_its_bits() -> None:
    assert decode_flags(0) == ()
    assert decode_flags(Flag.SATURATED | Flag.EDGE) == ("SATURATED", "EDGE")
    assert decode_flags(sum(Flag)) == tuple(flag.name for flag in sorted(Flag))


def test_a_bit_of_a_later_version_is_told_by_its_number() -> None:
    assert decode_flags(1 | 1 << 20) == ("SATURATED", "1048576")


def test_a_negative_number_is_no_mask() -> None:
    with pytest.raises(ValueError, match="bit mask, got -1"):
        decode_flags(-1)
