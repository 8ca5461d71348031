"""What docs/cluster.md tells users to write is what the code takes, and what it sets itself."""

from __future__ import annotations

import re
from pathlib import Path

import dask
import pytest
import yaml

from skymetal.deploy.clusters.lazy import DASK_CONFIG
from skymetal.deploy.clusters.settings import KINDS
from skymetal.deploy.config import read_job

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "cluster.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```toml\n(.*?)^```", PAGE, re.M | re.S)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: re.search(r'kind = "(.*)"', text)[1])
def test_every_example_is_a_cluster(example: str, tmp_path: Path) -> None:
    rest = '[job]\nrun_dir = "run"\n[targets]\nsurvey = "simulated"\nnum_galaxies = 9\n[images]\nsource = "simulated"\n'
    (tmp_path / "job.toml").write_text(rest + example)
    assert read_job(tmp_path / "job.toml").cluster.kind in KINDS


def test_every_kind_is_told() -> None:
    assert [kind for kind in KINDS if f"`{kind}`" not in PAGE] == []


def test_the_settings_for_those_who_start_a_scheduler_are_our_own() -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)
    told = yaml.safe_load(text)
    assert {key: dask.config.get(key, config=told) for key in DASK_CONFIG} == DASK_CONFIG
