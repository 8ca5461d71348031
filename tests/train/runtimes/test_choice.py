from __future__ import annotations

from pathlib import Path

import pytest

from skymetal.train.runtimes import choice
from skymetal.train.runtimes.choice import cpu_has_avx512, cpu_has_bfloat16

FLAGS = {
    "Milan": "fpu sse4_2 fma avx2",
    "Ice Lake": "fpu fma avx2 avx512f",
    "Sapphire Rapids": "avx512f amx_bf16 amx_tile",
}


@pytest.mark.parametrize(
    ("processor", "has"), [("Milan", (False, False)), ("Ice Lake", (True, False)), ("Sapphire Rapids", (True, True))]
)
def test_what_a_processor_can_do_is_read_where_linux_lists_it(
    processor: str, has: tuple[bool, bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "cpuinfo"
    listed.write_text(f"processor\t: 0\nmodel name\t: {processor}\nflags\t\t: {FLAGS[processor]}\n\n" * 2)
    monkeypatch.setattr(choice, "_CPU_FEATURES", listed)
    assert (cpu_has_avx512(), cpu_has_bfloat16()) == has


def test_a_system_that_lists_nothing_is_taken_to_have_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_CPU_FEATURES", tmp_path / "nothing")
    assert not cpu_has_avx512()
    assert not cpu_has_bfloat16()
