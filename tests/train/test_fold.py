from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from support.tiny_training import QUARANTINED_ROW, UNLABELLED_ROW, make_cutouts, tiny_plan

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import digest, open_folder
from skymetal.engine.pixels import IMAGENET
from skymetal.train.data import gather_pixels
from skymetal.train.fit import EpochReport, Watch
from skymetal.train.fold import fit_fold
from skymetal.train.folds import TEST_FOLD
from skymetal.train.network.network import MetallicityNet
from skymetal.train.normalisation import measure_normalisation
from skymetal.train.plan import TrainPlan
from skymetal.train.receipt import find_receipt
from skymetal.train.settings import TrainSettings


def files(plan: TrainPlan, pattern: str) -> dict[str, bytes]:
    folder = open_folder(plan.ensemble)
    return {name: folder.read(name) for name in folder.names(pattern)}


def test_a_fold_leaves_weights_predictions_and_a_receipt_and_no_checkpoint(trained: TrainPlan) -> None:
    folder = open_folder(trained.ensemble)
    receipt = find_receipt(folder, 0, plan_digest=trained.digest)
    assert receipt is not None
    assert [digest(folder.read(file.name)) == file.sha256 for file in receipt.files] == [True] * 3
    assert len(receipt.history) == 2
    assert all(0 < value < 2 for epoch in receipt.history for value in epoch)
    assert 8.5 < receipt.label_mean[0] < 9.3
    assert 0.05 < receipt.label_std[0] < 0.5
    labels, (images, _) = trained.read_labels(), make_cutouts(32)
    learnt_from = images[labels.row_N[trained.assign_folds(labels) != 0]]
    assert receipt.normalisation == measure_normalisation([torch.from_numpy(learnt_from)], pixels="whitened")
    assert open_folder(trained.checkpoints).names("fold*") == []


def test_each_galaxy_is_held_out_once(trained: TrainPlan) -> None:
    tables = [pq.read_table(Path(trained.ensemble) / name) for name in files(trained, "*.parquet")]
    object_id = np.concatenate([table["object_id"].to_numpy() for table in tables])
    wanted = 1000 + 7 * np.setdiff1d(np.arange(32), [QUARANTINED_ROW, UNLABELLED_ROW])
    assert sorted(object_id) == wanted.tolist()
    for table in tables:
        assert table.column_names == [
            "object_id", "fold", "oh_p50_true", "oh_p50", "oh_p50_std_views",
            "ood_score", "colour_i_r", "colour_r_g", "concentration", "chroma", "roughness",
        ]  # fmt: skip
        assert 0.98 < np.quantile(table["ood_score"].to_numpy(), 0.99) <= 1.001
        assert np.isfinite(table["oh_p50"].to_numpy()).all()
        assert (table["oh_p50_std_views"].to_numpy() >= 0).all()


def test_a_test_set_is_kept_from_every_member_and_predicted_by_all(tmp_path: Path) -> None:
    settings = TrainSettings(num_folds=2, num_epochs=1, batch_size=16, test_fraction=0.3)
    plan = tiny_plan(tmp_path, settings, num_galaxies=48)
    gather_pixels(plan)
    for fold in range(2):
        fit_fold(plan, fold)
    tables = [pq.read_table(Path(plan.ensemble) / name) for name in files(plan, "*.parquet")]
    test = [set(t.filter(pc.equal(t["fold"], TEST_FOLD))["object_id"].to_pylist()) for t in tables]
    own = [set(t.filter(pc.not_equal(t["fold"], TEST_FOLD))["object_id"].to_pylist()) for t in tables]
    assert test[0] == test[1]
    assert len(test[0]) > 5
    assert not test[0] & (own[0] | own[1])
    assert len(test[0] | own[0] | own[1]) == 46


def test_a_killed_and_resumed_fold_ends_with_the_same_bytes(trained: TrainPlan, tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    gather_pixels(plan)
    told: list[int] = []

    def die_in_the_second_epoch(report: EpochReport) -> None:
        told.append(report.epoch)
        if report.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_fold(plan, 0, watch=Watch(report=die_in_the_second_epoch))
    assert open_folder(plan.checkpoints).names("fold*") == ["fold0.pt"]
    assert files(plan, "*") == {}
    torch.randn(5)  # a process that goes on elsewhere has another random state

    fit_fold(plan, 0, watch=Watch(report=lambda report: told.append(report.epoch)))
    assert told == [1, 2, 2]
    assert files(plan, "fold0*") == files(trained, "fold0*")
    assert open_folder(plan.checkpoints).names("fold*") == []


def test_a_fold_that_is_done_is_not_done_again(trained: TrainPlan) -> None:
    before = files(trained, "*")
    fit_fold(trained, 1, watch=Watch(report=lambda report: pytest.fail("it was trained again")))
    assert files(trained, "*") == before


def test_members_of_another_plan_are_not_mixed_in(trained: TrainPlan) -> None:
    other = replace(trained, seed=99)
    with pytest.raises(InputError, match=r"fold0\.json was trained on other data or with other settings"):
        fit_fold(other, 0)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_weights_that_are_not_finite_are_never_kept(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    wild = replace(plan, recipe=replace(plan.recipe.lasting(1), weight_decay=1e38))
    gather_pixels(wild)
    with pytest.raises(RuntimeError, match="are not finite after training; nothing is kept of this fold"):
        fit_fold(wild, 0)
    assert files(plan, "*") == {}


def test_two_labels_are_learnt_together_from_given_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(MetallicityNet(num_labels=1).trunk_state(), tmp_path / "resnet34.pth")
    settings = TrainSettings(
        num_folds=2, num_epochs=1, labels=("oh_p50", "lgm_tot_p50"), init=str(tmp_path / "resnet34.pth")
    )
    plan = tiny_plan(tmp_path, settings)
    assert plan.recipe.pixels == "scaled"  # all that ImageNet's weights know
    reports: list[EpochReport] = []
    gather_pixels(plan)
    fit_fold(plan, 1, watch=Watch(report=reports.append))
    assert [(report.fold, report.epoch, report.num_epochs) for report in reports] == [(1, 1, 1)]
    assert math.isfinite(reports[0].held_out_rmse)
    receipt = find_receipt(open_folder(plan.ensemble), 1, plan_digest=plan.digest)
    assert receipt is not None
    assert receipt.normalisation == IMAGENET
    assert receipt.label_mean[1] - receipt.label_mean[0] == pytest.approx(10, abs=1e-3)
    table = pq.read_table(Path(plan.ensemble) / receipt.predictions.name)
    assert abs(table["lgm_tot_p50"].to_numpy().mean() - 18.9) < 1
