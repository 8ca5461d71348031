from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.tiny_training import tiny_plan

from skymetal.catalogs.errors import InputError
from skymetal.train.assemble import write_ensemble
from skymetal.train.plan import TrainPlan
from skymetal.train.settings import TrainSettings
from skymetal.train.transfer import refuse_seen_galaxies


def test_weights_that_have_seen_the_galaxies_are_refused_and_a_strangers_are_not(
    trained: TrainPlan, tmp_path: Path
) -> None:
    shutil.copytree(trained.ensemble, tmp_path / "ensemble")
    card = write_ensemble(replace(trained, ensemble=tmp_path / "ensemble"))
    init = str(Path(card.path) / card.members[0].weights.name)
    plan = tiny_plan(tmp_path / "again", TrainSettings(num_folds=2, init=init))
    plan.check()
    with pytest.raises(InputError, match=r"has learnt from 30 of these galaxies \(such as 1000\)"):
        refuse_seen_galaxies(plan)
    shutil.copy(init, tmp_path / "alone.safetensors")
    refuse_seen_galaxies(replace(plan, init=str(tmp_path / "alone.safetensors")))
    refuse_seen_galaxies(trained)
    (Path(card.path) / "ensemble.toml").unlink()
    with pytest.raises(InputError, match="of an ensemble that is not finished"):
        refuse_seen_galaxies(plan)
