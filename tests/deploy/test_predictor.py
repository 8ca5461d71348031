from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from support.tiny_training import SPEC

from skymetal.catalogs.errors import InputError
from skymetal.deploy import predictor
from skymetal.deploy.config import read_job
from skymetal.deploy.predictor import make_predictor
from skymetal.deploy.run import Run, open_run
from skymetal.train.card import EnsembleCard

JOB = """
[job]
run_dir = "run"
[targets]
survey = "simulated"
num_galaxies = 1
[images]
source = "simulated"
[score]
ensemble = "ensemble"
[cluster]
kind = "local-cpu"
"""
CARD = cast(EnsembleCard, SimpleNamespace(digest="digest", image_spec=SPEC))  # all that is looked at


@pytest.fixture(params=["auto", "torch-fp16", "torch-bf16"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    (tmp_path / "job.toml").write_text(JOB)
    with open_run(read_job(tmp_path / "job.toml", [f'score.runtime="{request.param}"'])) as run:
        yield run


@pytest.mark.parametrize("run", ["auto"], indirect=True)
def test_a_cpu_computes_in_full_precision_unless_the_job_says_otherwise(run: Run) -> None:
    made = make_predictor(run, CARD)
    assert made.runtime in ("mnn", "torch")
    assert (made.batch_size, made.num_views, made.digest) == (32, 8, "digest")


@pytest.mark.parametrize("run", ["torch-fp16"], indirect=True)
def test_16_bit_floats_are_refused_without_a_gpu(run: Run) -> None:
    with pytest.raises(InputError, match="runtime = 'torch-fp16' is for GPUs, and none is here; set runtime = 'auto'"):
        make_predictor(run, CARD)


@pytest.mark.parametrize("run", ["torch-bf16"], indirect=True)
def test_bfloat16_is_for_processors_that_multiply_in_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "cpu_has_bfloat16", lambda: True)
    assert make_predictor(run, CARD).runtime == "torch-bf16"
    monkeypatch.setattr(predictor, "cpu_has_bfloat16", lambda: False)
    with pytest.raises(InputError, match=r"for processors with AMX .*, and not every worker has one"):
        make_predictor(run, CARD)
