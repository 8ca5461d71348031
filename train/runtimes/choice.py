"""What a run's runtime is chosen by, without loading one: torch takes seconds."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

BATCH_SIZES = {"cpu": 32, "cuda": 512}
"""Images a pass where the job names no number: of 128 x 128 pixels a CPU gains nothing from more, a GPU does."""

_CPU_FEATURES = Path("/proc/cpuinfo")


def mnn_is_installed() -> bool:
    """Tell whether this process could use it."""
    return all(find_spec(name) is not None for name in ("MNN", "onnx"))


def cpu_has_avx512() -> bool:
    """Tell whether this machine's processor computes on 16 numbers at once: torch makes use of it, MNN does not."""
    return _cpu_has("avx512f")


def cpu_has_bfloat16() -> bool:
    """Tell whether this machine's processor multiplies matrices in bfloat16 (AMX): it is slow in it without."""
    return _cpu_has("amx_bf16")


def _cpu_has(feature: str) -> bool:
    """Look where Linux lists them; a system that lists none is taken to have none."""
    return _CPU_FEATURES.exists() and feature in _CPU_FEATURES.read_text().split()
