"""The job file's ``[submit]``: what a batch job asks Slurm for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from skymetal.catalogs.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,-]*")
_OPTION = re.compile(r"--[a-z][a-z-]*(=[^\s'\"\\\\#]+)?")


@dataclass(frozen=True, kw_only=True)
class SubmitSettings:
    """The job file's ``[submit]``: one batch job with scheduler, workers and driver in it.

    gpus_per_node 0 means workers on CPUs. time_h is how long the job may work at a time: then it goes back into the
    queue, and on from where it was. 0 for time_h, cpus_per_node or memory_gb (a node) leaves it to the cluster. options
    are sbatch's own (``--qos=long``), setup are lines of shell that run before anything starts (``module load cuda``).
    """

    time_h: float = 0.0
    num_nodes: int = 1
    gpus_per_node: int = 0
    cpus_per_node: int = 0
    memory_gb: float = 0.0
    partition: str = ""
    account: str = ""
    options: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for key, top in {"num_nodes": 10_000, "gpus_per_node": 64, "cpus_per_node": 4096}.items():
            low = 1 if key == "num_nodes" else 0
            if not low <= getattr(self, key) <= top:
                raise InputError(f"[submit] {key} must be {low} to {top}, got {getattr(self, key)}")
        if not (self.time_h == 0 or 1 / 60 <= self.time_h <= 10_000):
            raise InputError(
                f"[submit] time_h must be 0 (the cluster's default) or a minute to 10000 h, got {self.time_h}"
            )
        if not 0 <= self.memory_gb <= 100_000:
            raise InputError(f"[submit] memory_gb must be 0 to 100000, got {self.memory_gb}")
        self._check_texts()

    def _check_texts(self) -> None:
        for key in ("partition", "account"):
            value = getattr(self, key)
            if value and not _NAME.fullmatch(value):
                raise InputError(f"[submit] {key} must be letters, digits, '_', '.', ',' or '-', got {value!r}")
        for option in self.options:
            if not _OPTION.fullmatch(option) or not option.isprintable():
                raise InputError(
                    f"[submit] options are long ones of sbatch, one word each, as '--qos=long', got {option!r}"
                )
        for line in self.setup:
            if not line.isprintable():
                raise InputError(f"[submit] setup is a list of single lines without control characters, got {line!r}")
