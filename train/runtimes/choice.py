"""What a run's runtime is chosen by, without loading one: torch takes seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

BATCH_SIZES = {"cpu": 32, "cuda": 512}
"""Images a pass where the job names no number: a CPU gains nothing from more, a GPU does (docs/scoring.md)."""


def mnn_is_installed() -> bool:
    """Tell whether this process could use it."""
    return all(find_spec(name) is not None for name in ("MNN", "onnx"))


def cpu_has_bfloat16() -> bool:
    """Tell whether this machine's processor multiplies matrices in bfloat16 (AMX): it is slow in it without."""
    look: Callable[[], Mapping[str, Any]] = getattr(import_module("torch").cpu, "get_capabilities", dict)
    return bool(look().get("amx_bf16", False))  # a torch too old to tell is taken to have none
