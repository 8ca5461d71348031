from __future__ import annotations

from typing import Any

import pytest

from skymetal.catalogs.errors import InputError
from skymetal.deploy.jobs.settings import SubmitSettings


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_nodes", 0),
        ("gpus_per_node", -1),
        ("time_h", -1.0),
        ("time_h", float("nan")),
        ("memory_gb", float("inf")),
        ("partition", "gpu;reboot"),
        ("partition", "-x"),
        ("account", "a b"),
        ("account", "a\n#SBATCH --uid=0"),
        ("options", ("--qos=long\n#SBATCH --uid=0",)),
        ("options", ("--wrap='rm'",)),
        ("options", ("qos=long",)),
        ("setup", ("module load cuda\nreboot",)),
        ("setup", ("echo \x1b[2J",)),
    ],
)
def test_what_is_out_of_range_or_could_become_another_line_is_refused(key: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"\[submit\] {key}"):
        SubmitSettings(**{key: value})


def test_what_sites_ask_for_is_accepted() -> None:
    SubmitSettings(
        time_h=24.0, num_nodes=4, gpus_per_node=8, memory_gb=500.0, partition="gpu,gpu-long", account="astro_1"
    )
    SubmitSettings(options=("--qos=long", "--constraint=a100&nvlink", "--exclusive"), setup=("module load cuda/12",))
