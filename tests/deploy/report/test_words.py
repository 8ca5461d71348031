from __future__ import annotations

import pytest

from skymetal.deploy.report.words import count, counted, duration, fixed, galaxies, percent, rate


def plain(text: str) -> str:
    return text.replace("\N{NARROW NO-BREAK SPACE}", "_")


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (count(1234567), "1_234_567"),
        (count(-1234), "−1_234"),
        (counted(1, "target"), "1 target"),
        (counted(2000, "target"), "2_000 targets"),
        (galaxies(1), "1 galaxy"),
        (galaxies(0), "0 galaxies"),
        (fixed(-0.12345, 3), "−0.123"),
        (fixed(0.1, 2, sign=True), "+0.10"),
        (fixed(None, 2), "–"),
        (fixed(float("nan"), 2), "–"),
        (percent(0.1234), "12.3_%"),
        (percent(0.00001), "< 0.1_%"),
        (percent(0.0), "0.0_%"),
        (percent(None), "–"),
        (duration(3.14), "3.1_s"),
        (duration(75), "1_min 15_s"),
        (duration(3 * 3600 + 61), "3_h 1_min"),
        (duration(3 * 86400 + 7200), "3_d 2_h"),
        (rate(6.192), "6.19"),
        (rate(1234.5), "1_234"),
    ],
)
def test_numbers_are_said_as_a_reader_wants_them(found: str, text: str) -> None:
    assert plain(found) == text
