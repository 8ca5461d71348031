from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from support.tiny_training import SPEC

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.inputs import claim_inputs
from skymetal.deploy import predictor
from skymetal.deploy.config import read_job
from skymetal.deploy.predictor import make_predictor, refuse_unfit
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


@pytest.fixture
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    """A run whose job asks for the runtime that the test names."""
    (tmp_path / "job.toml").write_text(JOB)
    with open_run(read_job(tmp_path / "job.toml", [f'score.runtime="{request.param}"'])) as run:
        yield run


def begin_pass(run: Run, **inputs: object) -> None:
    """Leave what a pass leaves that has begun elsewhere."""
    claim_inputs(run.directory.folder, "score", inputs, has_results=False)
    (run.directory.folder / "parts" / "receipts").write("000000.json", b"{}")


@pytest.mark.parametrize("run", ["auto"], indirect=True)
def test_a_cpu_computes_in_full_precision_unless_the_job_says_otherwise(run: Run) -> None:
    made = make_predictor(run, CARD)
    assert made.runtime in ("mnn", "torch")
    assert (made.batch_size, made.num_views, made.digest) == (32, 8, "digest")
    refuse_unfit(run, made)


@pytest.mark.parametrize("run", ["auto"], indirect=True)
@pytest.mark.parametrize(
    ("has_avx512", "has_mnn", "fastest"),
    [(True, True, "torch"), (True, False, "torch"), (False, True, "mnn"), (False, False, "torch")],
)
def test_a_cpu_computes_with_what_is_fastest_on_it(
    run: Run, has_avx512: bool, has_mnn: bool, fastest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "cpu_has_avx512", lambda: has_avx512)
    monkeypatch.setattr(predictor, "mnn_is_installed", lambda: has_mnn)
    assert make_predictor(run, CARD).runtime == fastest


@pytest.mark.parametrize("run", ["auto"], indirect=True)
def test_what_the_job_leaves_open_is_as_the_pass_began_and_is_refused_where_that_would_crawl(run: Run) -> None:
    begin_pass(run, runtime="torch-fp16", batch_size=64)
    made = make_predictor(run, CARD)
    assert (made.runtime, made.batch_size) == ("torch-fp16", 64)
    with pytest.raises(
        InputError, match=r"is for workers with a GPU each, and not every one here has it; .* go on where it began"
    ):
        refuse_unfit(run, made)


@pytest.mark.parametrize("run", ["amx-bf16"], indirect=True)
def test_bfloat16_on_a_cpu_is_for_processors_that_multiply_in_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_predictor(run, CARD)
    assert (made.runtime, made.batch_size) == ("amx-bf16", 32)
    monkeypatch.setattr(predictor, "cpu_has_bfloat16", lambda: True)
    refuse_unfit(run, made)
    monkeypatch.setattr(predictor, "cpu_has_bfloat16", lambda: False)
    with pytest.raises(
        InputError, match=r"is for workers with a processor with AMX .* each, and not every one here has it"
    ):
        refuse_unfit(run, made)
