from __future__ import annotations

import numpy as np
import pytest

from skymetal.catalogs.export.checksum import OnesSum, encode_checksum


@pytest.mark.parametrize(
    ("total", "text"),
    # The first is the example of the FITS standard, appendix J.
    [(868229149, "hcHjjc9ghcEghc9g"), (0xFFFFFFFF, "0000000000000000")],
)
def test_a_sum_is_spelt_as_the_standard_says(total: int, text: str) -> None:
    assert encode_checksum(total) == text


def test_every_code_brings_its_sum_to_all_ones_in_letters_and_digits_alone() -> None:
    rng = np.random.default_rng(1)
    for total in [0, 1, 0xFFFFFFFF, *rng.integers(0, 1 << 32, 500).tolist()]:
        code = encode_checksum(total)
        assert code.isalnum()
        joined = OnesSum()
        zeros = b"0" * 16
        joined.add((code[1:] + code[:1]).encode())
        minus = OnesSum()
        minus.add(zeros)
        # What the code adds to sixteen zeros, and the sum itself.
        assert (joined.value + total - minus.value) % 0xFFFFFFFF == 0


def test_a_sum_does_not_depend_on_how_the_bytes_came() -> None:
    data = np.random.default_rng(2).integers(0, 256, 10_007, dtype=np.uint8).tobytes()
    whole = OnesSum()
    whole.add(data + b"\0")
    for cuts in ([1], [3, 4, 5], [10_006], list(range(0, 10_007, 17))):
        pieces = OnesSum()
        for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
            pieces.add(data[start:stop])
        assert pieces.value == whole.value
