"""The score step over real worker processes, with a quick predictor."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pyarrow as pa
import pytest
from support import brightness, scored_store

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import LocalFolder
from skymetal.deploy import scoring
from skymetal.deploy.config import read_job
from skymetal.deploy.planning import _duration, _probe_workers
from skymetal.deploy.run import Run, open_run
from skymetal.deploy.scoring import MONITOR, _score, make_score_plan
from skymetal.engine.probe import Probe
from skymetal.engine.score_plan import ScorePlan

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]
NUM_GALAXIES = 160


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    path = tmp_path_factory.mktemp("run")
    text = '[job]\nrun_dir = "run"\n[targets]\nsurvey = "simulated"\nnum_galaxies = 1\n[images]\nsource = "simulated"\n'
    (path / "job.toml").write_text(text + '[cluster]\nkind = "local-cpu"\nnum_workers = 2\n')
    with open_run(read_job(path / "job.toml", [])) as run:
        yield run


def make_plan(root: Path, *, error: float) -> ScorePlan:
    truth = 8 + np.arange(NUM_GALAXIES) % 100 / 100 + error
    truth[::8] = np.nan
    table = pa.table({"object_id": np.arange(NUM_GALAXIES), "oh_p50": truth.astype(np.float32)})
    plan = scored_store.make_plan(
        LocalFolder(root),
        table,
        lambda object_id: np.stack([np.full((8, 8, 3), each % 100, np.uint8) for each in object_id]),
        brightness.ref(),
        shard_size=16,
    )
    return dataclasses.replace(plan, truths=("oh_p50",))


def test_an_ensemble_of_other_images_is_refused_before_any_worker_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(tmp_path, error=0.0)
    other = dataclasses.replace(brightness.SPEC, bands=("z", "r", "g"))
    monkeypatch.setattr(scoring, "describe_ensemble", lambda _: SimpleNamespace(labels=("oh_p50",), image_spec=other))
    without_cluster = cast(Run, SimpleNamespace(ensemble="other", store=plan.store, targets=plan.targets))
    with pytest.raises(InputError, match=r"the ensemble other has bands = zrg, but the store .* has bands = irg"):
        make_score_plan(without_cluster)


def test_what_came_is_measured_against_what_is_known(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = make_plan(tmp_path, error=0.05)
    _score(run, plan, plan.missing_blocks())
    numbers = json.loads((run.folder.path / MONITOR).read_bytes())
    assert numbers["num_rows"] == NUM_GALAXIES
    assert numbers["accuracy"]["num_known"] == NUM_GALAXIES * 7 // 8
    assert numbers["accuracy"]["rmse"] == pytest.approx(0.05, abs=0.003)
    assert numbers["accuracy"]["bias"] == pytest.approx(-0.05, abs=0.005)
    assert [drift["name"] for drift in numbers["drift"]][:2] == ["oh_p50", "ood_score"]
    said = capsys.readouterr().out
    assert "score: of 140 galaxies with known metallicity: RMSE 0.0" in said
    assert "score: colour_i_r is distributed otherwise" in said
    event = json.loads((run.folder.path / "events.jsonl").read_text().splitlines()[-1])
    assert len(event["galaxies_per_second"]) == 2


def test_a_pass_that_goes_wrong_is_stopped_and_keeps_what_is_done(run: Run, tmp_path: Path) -> None:
    plan = make_plan(tmp_path, error=0.7)
    with pytest.raises(
        RuntimeError, match=r"score is stopped after \d+ galaxies: the RMSE on \d+ galaxies of known .* 0\.(7|69)"
    ):
        _score(run, plan, plan.missing_blocks())
    assert len(plan.missing_blocks()) < plan.store.num_blocks
    patient = dataclasses.replace(run.job.score, stop_rmse_ratio=0.0)
    calm = dataclasses.replace(run, job=dataclasses.replace(run.job, score=patient))
    _score(calm, plan, plan.missing_blocks())
    assert plan.missing_blocks() == []


def test_a_trial_measures_every_worker_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    plan = make_plan(tmp_path, error=0.0)
    probes = _probe_workers(run, plan, plan.missing_blocks(), 0.2)
    assert len(probes) == 2
    assert len({probe.process for probe in probes}) == 2
    assert all(probe.galaxies_per_second > 100 and probe.worker_bytes > 1 << 20 for probe in probes)
    assert not (tmp_path / "parts").exists()


def test_the_forecast_is_when_the_last_worker_is_done() -> None:
    fast, slow = (Probe(process="", galaxies_per_second=rate, start_seconds=2, worker_bytes=0) for rate in (100, 50))
    assert _duration([fast], [100] * 6) == pytest.approx(8)
    assert _duration([fast, fast], [100] * 6) == pytest.approx(5)
    assert _duration([fast, slow], [100] * 6) == pytest.approx(6)
    assert _duration([slow], []) == 0
