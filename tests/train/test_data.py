from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support.tiny_training import QUARANTINED_ROW, UNLABELLED_ROW, make_cutouts, tiny_plan

from skymetal.catalogs.storage import LocalFolder
from skymetal.catalogs.targets import open_targets, write_targets
from skymetal.train.data import gather_pixels, pixels_name, read_training_set
from skymetal.train.settings import TrainSettings


def test_only_stored_galaxies_with_every_label_are_learnt_from(folder: LocalFolder) -> None:
    plan = tiny_plan(folder.path, TrainSettings(num_folds=2, labels=("lgm_tot_p50", "oh_p50")), num_galaxies=24)
    gather_pixels(plan)
    data = read_training_set(plan)
    images, oh = make_cutouts(24)
    kept = np.setdiff1d(np.arange(24), [QUARANTINED_ROW, UNLABELLED_ROW])
    assert data.object_id_N.tolist() == (1000 + 7 * kept).tolist()
    assert np.array_equal(data.images_NHWC, images[kept])
    assert np.array_equal(data.labels_NK[:, 1], oh[kept])
    assert np.allclose(data.labels_NK[:, 0], 10 + oh[kept])
    train_rows, held_out_rows = data.part(0)
    assert sorted([*train_rows, *held_out_rows]) == list(range(22))
    assert set(data.fold_N[held_out_rows]) == {0}
    assert len(data.test_rows) == 0


def test_pixels_are_gathered_once_and_whole_or_not_at_all(folder: LocalFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = tiny_plan(folder.path, num_galaxies=24)

    def no_room(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", no_room)
    with pytest.raises(RuntimeError, match=r"needs 0.0 GB for the training pixels and cannot be written \(No space"):
        gather_pixels(plan)
    monkeypatch.undo()
    assert not (Path(plan.checkpoints) / pixels_name(plan)).exists()
    gather_pixels(plan)
    before = (Path(plan.checkpoints) / pixels_name(plan)).stat()
    gather_pixels(plan)
    assert (Path(plan.checkpoints) / pixels_name(plan)).stat() == before
    np.save((Path(plan.checkpoints) / pixels_name(plan)), np.zeros((3, 32, 32, 3), np.uint8))
    with pytest.raises(RuntimeError, match="is of another training set; delete it"):
        read_training_set(plan)


def test_galaxies_of_one_group_are_in_one_fold(folder: LocalFolder) -> None:
    plan = tiny_plan(folder.path, num_galaxies=24)
    table = open_targets(plan.targets).read(0, 24)
    object_id = table["object_id"].to_numpy()
    paired = object_id - 7 * (np.arange(24) % 2)  # each second galaxy is close to the one before
    with_groups = table.append_column("group_id", pa.array(paired))
    targets = write_targets(folder, "paired.parquet", with_groups, selection={})
    grouped = replace(plan, targets=str(targets))
    labels = grouped.read_labels()
    fold = dict(zip(labels.object_id_N.tolist(), grouped.assign_folds(labels).tolist(), strict=True))
    pairs = [(fold[a], fold[b]) for a, b in zip(paired[1::2], object_id[1::2], strict=True) if {a, b} <= fold.keys()]
    assert len(pairs) >= 10
    assert all(a == b for a, b in pairs)
    alone = plan.assign_folds(plan.read_labels()).tolist()
    assert alone != list(fold.values())
