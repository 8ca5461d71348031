from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.select import TargetSettings, select
from skymetal.catalogs.storage import Folder
from skymetal.engine.ingest import ImageSettings, IngestPlan, ingest_block, make_ingest_plan, quarantined
from skymetal.engine.store import create_store, open_store


def make_plan(path: Path, **changes: Any) -> IngestPlan:
    """Eleven galaxies: 3 has no file, 5 is blank, 8 is truncated."""
    images = path / "images"
    images.mkdir(exist_ok=True)
    for object_id in range(1, 12):
        pixels = np.random.default_rng(object_id).integers(0, 200, (16, 16, 3)).astype(np.uint8)
        Image.fromarray(pixels * (object_id != 5)).save(images / f"{object_id}.png")
    (images / "3.png").unlink()
    (images / "8.png").write_bytes((images / "8.png").read_bytes()[:300])
    (path / "t.csv").write_text("object_id\n" + "\n".join(map(str, range(1, 12))) + "\n")
    folder = Folder(path)
    targets = select(
        TargetSettings(survey="sdss", tables=(str(path / "t.csv"),)), seed=0, folder=folder, name="t.parquet"
    )
    settings = {"source": "folder", "folder": str(images), "pattern": "{object_id}.png", "size_pix": 16} | changes
    layout = {"shard_size": 4, "chunk_size": 4}
    return make_ingest_plan(ImageSettings(**(layout | settings)), targets=targets, folder=folder / "store.zarr", seed=0)


def ingest_all(plan: IngestPlan) -> None:
    create_store(plan.store.folder, plan.store.layout)
    for index in plan.missing_blocks():
        ingest_block(plan, index)
    plan.store.finish()


def test_every_target_is_stored_or_quarantined_with_its_reason(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    plan.check()
    create_store(plan.store.folder, plan.store.layout)
    receipts = [ingest_block(plan, index) for index in plan.missing_blocks()]
    assert [(r.num_stored, r.num_quarantined) for r in receipts] == [(3, 1), (2, 2), (3, 0)]
    plan.store.finish()
    rejects = quarantined(plan.store)
    assert rejects["object_id"].to_pylist() == [3, 5, 8]
    assert rejects["source"].to_pylist() == ["3.png", "5.png", "8.png"]
    reasons = rejects["reason"].to_pylist()
    assert reasons[:2] == ["no such file", "blank: every pixel is 0"]
    assert "truncated" in reasons[2]


def test_the_store_holds_the_pixels_of_the_files(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    ingest_all(plan)
    block = open_store(tmp_path / "store.zarr").read_block(2)
    assert block.object_id.tolist() == [9, 10, 11]
    assert np.array_equal(block.images[1], np.asarray(Image.open(tmp_path / "images" / "10.png")))
    assert not open_store(tmp_path / "store.zarr").read_block(0).images[2].any()


def test_what_is_written_is_not_written_again(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    create_store(plan.store.folder, plan.store.layout)
    ingest_block(plan, 1)
    assert plan.missing_blocks() == [0, 2]
    ingest_all(plan)
    assert plan.missing_blocks() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "folders"}, r"source must be one of folder, simulated, got 'folders'"),
        ({"folder": ""}, "folder is missing"),
        ({"bands": ("r", "g")}, "bands must name 3 bands"),
        ({"size_pix": 0}, "size_pix must be at least 1, got 0"),
        ({"shard_size": 10, "chunk_size": 4}, "multiple of chunk_size, got 10 and 4"),
        ({"crop_pix": 40}, "crop_pix must be 1 to input_size_pix, got 40 of 16"),
    ],
)
def test_settings_that_make_no_sense_cannot_exist(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_plan(tmp_path, **changes)


def test_a_folder_without_images_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    plan = make_plan(tmp_path, folder=str(tmp_path / "empty"))
    with pytest.raises(InputError, match="has no image of any of the 11 targets"):
        plan.check()
    assert not plan.store.folder.exists()


def test_a_real_table_cannot_be_drawn_and_is_refused_before_any_work(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, source="simulated")
    with pytest.raises(InputError, match="oh_true"):
        plan.check()
    assert not plan.store.folder.exists()


def test_the_simulated_survey_fills_a_store(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    targets = select(TargetSettings(survey="simulated", num_galaxies=12), seed=1, folder=folder, name="t.parquet")
    settings = ImageSettings(source="simulated", size_pix=32, shard_size=8, chunk_size=8, stretch="asinh")
    plan = make_ingest_plan(settings, targets=targets, folder=folder / "store.zarr", seed=1)
    ingest_all(plan)
    block = open_store(folder.path / "store.zarr").read_block(0)
    assert block.is_stored.sum() >= 7
    assert block.images[block.is_stored].std() > 5
