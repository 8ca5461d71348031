from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support.tiny_training import QUARANTINED_ROW, UNLABELLED_ROW, make_cutouts, make_store

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import Folder
from skymetal.catalogs.targets import open_targets, write_targets
from skymetal.train.data import measure_normalisation, read_labels, read_training_set


def test_only_stored_galaxies_with_every_label_are_learnt_from(folder: Folder) -> None:
    targets, store = make_store(folder, 24)
    data = read_training_set(store, targets, ("lgm_tot_p50", "oh_p50"), num_folds=2, seed=0)
    images, oh = make_cutouts(24)
    kept = np.setdiff1d(np.arange(24), [QUARANTINED_ROW, UNLABELLED_ROW])
    assert data.object_id_N.tolist() == (1000 + 7 * kept).tolist()
    assert np.array_equal(data.images_NHWC, images[kept])
    assert np.array_equal(data.labels_NK[:, 1], oh[kept])
    assert np.allclose(data.labels_NK[:, 0], 10 + oh[kept])
    train_rows, held_out_rows = data.part(0)
    assert sorted([*train_rows, *held_out_rows]) == list(range(22))
    assert set(data.fold_N[held_out_rows]) == {0}


def test_a_missing_label_names_the_columns_near_it(folder: Folder) -> None:
    targets, _ = make_store(folder, 24)
    with pytest.raises(InputError, match=r"no column 'oh_p5'; did you mean 'oh_p50'"):
        read_labels(targets, ("oh_p5",))
    with pytest.raises(InputError, match=r"no column 'zzz'; there is object_id, oh_p50"):
        read_labels(targets, ("zzz",))


def test_labels_without_information_are_refused(folder: Folder) -> None:
    targets, _ = make_store(folder, 24)
    with pytest.raises(InputError, match="same is 1 for every galaxy"):
        read_labels(targets, ("same",))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["?"] * 24, "is of type string, not a number"),
        ([None] * 20 + [8.1, 8.2, 8.3, 8.4], "only 4 of 24 galaxies have oh_p50; training needs"),
        ([8.0, 99.0] * 12, r"oh_p50 is 99 for object_id 1, outside 6 to 11, so it is no 12\+log"),
    ],
)
def test_labels_that_are_no_numbers_or_too_few_are_refused(column: list[object], message: str, tmp_path: Path) -> None:
    table = pa.table({"object_id": range(24), "oh_p50": column})
    write_targets(Folder(tmp_path), "targets.parquet", table, selection={})
    with pytest.raises(InputError, match=message):
        read_labels(open_targets(tmp_path / "targets.parquet"), ("oh_p50",))


def test_galaxies_without_an_image_do_not_count(folder: Folder) -> None:
    targets, store = make_store(folder, 24)
    stored = store.read_is_stored()
    assert np.flatnonzero(~stored).tolist() == [QUARANTINED_ROW]
    stored[7:] = False
    with pytest.raises(InputError, match="of 24 galaxies have oh_p50 and an image"):
        read_labels(targets, ("oh_p50",), is_stored_N=stored)


def test_galaxies_of_one_group_are_in_one_fold(folder: Folder) -> None:
    _, store = make_store(folder, 24)
    table = open_targets(folder.path / "targets.parquet").read(0, 24)
    object_id = table["object_id"].to_numpy()
    paired = object_id - 7 * (np.arange(24) % 2)  # each second galaxy is close to the one before
    write_targets(folder, "paired.parquet", table.append_column("group_id", pa.array(paired)), selection={})
    targets = open_targets(folder.path / "paired.parquet")
    data = read_training_set(store, targets, ("oh_p50",), num_folds=2, seed=0)
    fold = dict(zip(data.object_id_N.tolist(), data.fold_N.tolist(), strict=True))
    pairs = [(fold[a], fold[b]) for a, b in zip(paired[1::2], object_id[1::2], strict=True) if {a, b} <= fold.keys()]
    assert len(pairs) >= 10
    assert all(a == b for a, b in pairs)
    alone = read_training_set(store, open_targets(folder.path / "targets.parquet"), ("oh_p50",), num_folds=2, seed=0)
    assert not np.array_equal(alone.fold_N, data.fold_N)
    assert np.array_equal(alone.object_id_N, data.object_id_N)


def test_pixels_are_measured_exactly_and_a_black_band_stays_finite() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3)).astype(np.uint8)
    images[..., 2] = 0
    measured = measure_normalisation(images)
    assert np.allclose(measured.mean, (images / 255).mean(axis=(0, 1, 2)))
    assert np.allclose(measured.std[:2], (images / 255).std(axis=(0, 1, 2))[:2])
    assert measured.std[2] > 0
