from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.tiny_training import tiny_plan

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import open_folder
from skymetal.train.assemble import write_ensemble
from skymetal.train.card import describe_ensemble
from skymetal.train.plan import TrainPlan
from skymetal.train.receipt import find_receipt
from skymetal.train.settings import TrainSettings
from skymetal.train.transfer import check_transfer


def test_weights_that_have_seen_the_galaxies_are_refused_and_a_strangers_are_not(
    trained: TrainPlan, tmp_path: Path
) -> None:
    shutil.copytree(trained.ensemble, tmp_path / "ensemble")
    card = write_ensemble(replace(trained, ensemble=tmp_path / "ensemble"))
    init = str(Path(card.path) / card.members[0].weights.name)
    plan = tiny_plan(tmp_path / "again", TrainSettings(num_folds=2, init=init))
    plan.check()
    with pytest.raises(InputError, match=r"has learnt from 30 of these galaxies \(such as 1000\)"):
        check_transfer(plan)
    paper = TrainSettings(num_folds=2, init=init, recipe="as_run")
    with pytest.raises(InputError, match=r"was shown whitened pixels, but recipe 'as_run' shows scaled ones"):
        check_transfer(tiny_plan(tmp_path / "paper", paper))
    shutil.copy(init, tmp_path / "alone.safetensors")
    check_transfer(replace(plan, init=str(tmp_path / "alone.safetensors")))
    check_transfer(trained)
    (Path(card.path) / "ensemble.toml").unlink()
    with pytest.raises(InputError, match="of an ensemble that is not finished"):
        check_transfer(plan)


def test_an_ensemble_or_a_fold_of_another_version_is_told_from_a_damaged_one(
    trained: TrainPlan, tmp_path: Path
) -> None:
    folder = tmp_path / "ensemble"
    shutil.copytree(trained.ensemble, folder)
    write_ensemble(replace(trained, ensemble=folder))
    card, receipt = folder / "ensemble.toml", folder / "fold0.json"
    card.write_text(card.read_text().replace("format = 5", "format = 4"))
    with pytest.raises(InputError, match=r"of another version of skymetal \(format 4, this one reads 5\)"):
        describe_ensemble(folder)
    receipt.write_text('{"plan_digest": "of old", "normalisation": {"mean": [0.1], "std": [0.2]}}')
    with pytest.raises(InputError, match="was trained on other data or with other settings"):
        find_receipt(open_folder(folder), 0, plan_digest=trained.digest)
