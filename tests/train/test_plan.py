from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from support.tiny_training import tiny_plan

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import LocalFolder, open_folder
from skymetal.catalogs.targets import open_targets, write_targets
from skymetal.engine.shard import array_metadata
from skymetal.engine.store import CutoutStore, open_store
from skymetal.train.folds import TEST_FOLD, assign_folds
from skymetal.train.network.network import MetallicityNet
from skymetal.train.plan import TrainPlan, check_start
from skymetal.train.settings import TrainSettings


def test_the_digest_names_the_work_and_not_the_place(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    assert tiny_plan(tmp_path / "there").digest == plan.digest
    assert replace(plan, seed=2).digest != plan.digest
    assert replace(plan, recipe=replace(plan.recipe, momentum=0.8)).digest != plan.digest
    assert replace(plan, labels=("lgm_tot_p50",)).digest != plan.digest
    assert replace(plan, ranks_per_fold=2).digest == plan.digest
    assert len(pickle.dumps(plan)) < 5000
    assert TrainPlan.from_json(plan.to_json()) == plan


def test_a_test_set_and_a_part_of_the_sky_are_kept_whole(tmp_path: Path) -> None:
    settings = TrainSettings(num_folds=2, test_fraction=0.3)
    plan = tiny_plan(tmp_path, settings, num_galaxies=64)
    fold_N = plan.assign_folds(plan.read_labels())
    assert set(fold_N.tolist()) == {TEST_FOLD, 0, 1}
    with pytest.raises(InputError, match="split = 'sky' needs positions"):
        tiny_plan(tmp_path, replace(settings, split="sky")).check()


def test_a_plan_that_can_work_passes_the_check(tmp_path: Path) -> None:
    tiny_plan(tmp_path).check()
    torch.save(MetallicityNet(num_labels=1).trunk_state(), tmp_path / "resnet34.pth")
    tiny_plan(tmp_path, TrainSettings(num_folds=2, init=str(tmp_path / "resnet34.pth"))).check()


def test_what_a_training_would_be_refused_for_is_found_before_there_are_images(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    targets, spec = open_targets(plan.targets), plan.image_spec
    check_start(TrainSettings(num_folds=2), targets=targets, spec=spec, seed=0)
    for settings, message in (
        (TrainSettings(num_folds=30), "num_folds = 30 is too many"),
        (TrainSettings(num_folds=2, init=str(tmp_path / "none.pth")), "is no file"),
        (TrainSettings(num_folds=2, band="u"), "is none of the images' bands"),
        (TrainSettings(num_folds=2, resolution_pix=64), "must be smaller"),
        (TrainSettings(num_folds=2, split="sky"), "needs positions"),
        (TrainSettings(num_folds=2, labels=("oh",)), "no column 'oh'"),
    ):
        with pytest.raises(InputError, match=message):
            check_start(settings, targets=targets, spec=spec, seed=0)


def test_ranks_are_no_more_than_share_a_batch(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path, TrainSettings(num_folds=2, batch_size=8))
    assert 2 <= plan.max_ranks() <= 4
    assert tiny_plan(tmp_path, TrainSettings(num_folds=2, batch_size=4)).max_ranks() in (1, 2)


def test_the_check_refuses_what_cannot_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column 'oh'"):
        tiny_plan(tmp_path, TrainSettings(labels=("oh",))).check()
    with pytest.raises(InputError, match=r"num_folds = 30 is too many"):
        tiny_plan(tmp_path, TrainSettings(num_folds=30)).check()
    with pytest.raises(InputError, match="is no file"):
        tiny_plan(tmp_path, TrainSettings(init=str(tmp_path / "none.pth")))
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    with pytest.raises(InputError, match="cannot be read as weights"):
        tiny_plan(tmp_path, TrainSettings(num_folds=2, init=str(tmp_path / "bad.pth"))).check()
    plan = tiny_plan(tmp_path)
    small = replace(plan.image_spec, size_pix=16)
    with pytest.raises(InputError, match=r"\[images\] size_pix must be at least 32 to train, got 16"):
        replace(plan, image_spec=small).check()


def test_a_fold_whose_others_are_all_alike_is_refused(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path, TrainSettings(num_folds=2))
    table = open_targets(plan.targets).read(0, 32)
    folds = assign_folds(table["object_id"].to_numpy(), num_folds=2, seed=plan.seed)
    labels = np.where(folds == 0, np.linspace(8.0, 9.0, 32), 8.5)
    alike = table.set_column(table.column_names.index("oh_p50"), "oh_p50", pa.array(labels))
    targets = write_targets(LocalFolder(tmp_path), "alike.parquet", alike, selection={})
    layout = replace(open_store(plan.store).layout, targets_digest=targets.digest)
    for name, data in array_metadata(layout).items():
        open_folder(plan.store).write(name, data)
    open_folder(plan.store).remove("manifest.json")
    CutoutStore(open_folder(plan.store), layout).finish()
    with pytest.raises(InputError, match="all galaxies outside fold 0 have the same label"):
        replace(plan, targets=str(targets)).check()


def test_a_store_of_other_targets_is_refused(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path / "one")
    tiny_plan(tmp_path / "other", num_galaxies=24)
    mixed = replace(plan, targets=tmp_path / "other" / "targets.parquet")
    with pytest.raises(InputError, match="was made for other targets"):
        mixed.check()


def test_a_place_without_a_store_is_refused(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    open_folder(plan.store).remove("manifest.json")
    with pytest.raises(InputError, match="is not finished"):
        plan.check()
