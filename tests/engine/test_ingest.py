from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.flags import Flag
from skymetal.catalogs.selection.select import TargetSettings, select_all
from skymetal.catalogs.storage import LocalFolder, open_file
from skymetal.catalogs.targets import TargetList, write_targets
from skymetal.engine.images import ImageSettings
from skymetal.engine.ingest import IngestPlan, ingest_block, make_ingest_plan, quarantined
from skymetal.engine.sources import Cutout, ImageSource
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
    folder = LocalFolder(path)
    targets = select_all(
        TargetSettings(survey="sdss", tables=(str(path / "t.csv"),)), seed=0, folder=folder, name="t.parquet"
    )
    settings = {"source": "folder", "folder": str(images), "pattern": "{object_id}.png", "size_pix": 16} | changes
    layout = {"shard_size": 4, "chunk_size": 4}
    return make_ingest_plan(ImageSettings(**(layout | settings)), targets=targets, run_dir=folder, seed=0)


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
    rejects = quarantined(plan.store, {})
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


def test_a_damaged_target_list_is_refused_before_any_work(tmp_path: Path) -> None:
    path = Path(str(make_plan(tmp_path).targets))
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 3] ^= 4
    path.write_bytes(damaged)
    with pytest.raises(RuntimeError, match="is damaged: it is not the list that `skymetal select` wrote"):
        make_ingest_plan(
            ImageSettings(source="simulated"),
            targets=TargetList(*open_file(path)),
            run_dir=LocalFolder(tmp_path),
            seed=0,
        )
    assert not (tmp_path / "store.zarr").exists()


def test_what_is_written_is_not_written_again(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    create_store(plan.store.folder, plan.store.layout)
    ingest_block(plan, 1)
    assert plan.missing_blocks() == [0, 2]
    ingest_all(plan)
    assert plan.missing_blocks() == []


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
    folder = LocalFolder(tmp_path)
    targets = select_all(TargetSettings(survey="simulated", num_galaxies=12), seed=1, folder=folder, name="t.parquet")
    settings = ImageSettings(source="simulated", size_pix=32, shard_size=8, chunk_size=8, stretch="asinh")
    plan = make_ingest_plan(settings, targets=targets, run_dir=folder, seed=1)
    ingest_all(plan)
    block = open_store(folder.path / "store.zarr").read_block(0)
    assert block.is_stored.sum() >= 7
    assert block.images[block.is_stored].std() > 5


def test_two_galaxies_with_the_same_pixels_are_both_quarantined(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    (tmp_path / "images" / "2.png").write_bytes((tmp_path / "images" / "1.png").read_bytes())
    ingest_all(plan)
    rejects = {row["object_id"]: row["reason"] for row in quarantined(plan.store, {}).to_pylist()}
    assert "copy: its pixels are those of object_id 2 too" in rejects[1]
    assert "copy: its pixels are those of object_id 1 too" in rejects[2]
    assert not plan.store.read_block(0).images[:2].any()


def test_a_blank_image_carries_its_flags_and_its_source(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    ingest_all(plan)
    receipt = plan.store.read_receipt(1).to_pylist()[0]
    assert (receipt["object_id"], receipt["source"]) == (5, "5.png")
    assert receipt["ingest_flags"] == Flag.BLANK | Flag.CONSTANT


def test_the_scale_of_every_cutout_is_kept(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, size_rule="fixed", pixel_scale_arcsec=0.396)
    ingest_all(plan)
    assert plan.store.image_spec.size_rule == "0.396 arcsec/pixel"
    assert plan.store.read_receipt(0)["pixel_scale_arcsec"].to_pylist() == [0.396] * 4
    (tmp_path / "other").mkdir()
    unknown = make_plan(tmp_path / "other")
    ingest_all(unknown)
    assert unknown.store.read_receipt(0)["pixel_scale_arcsec"].to_pylist() == [None] * 4


def test_a_block_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    ingest_all(plan)
    for image in (tmp_path / "images").iterdir():
        image.unlink()
    assert ingest_block(plan, 1).num_stored == 2


def test_a_store_that_cannot_fit_the_disk_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(InputError, match=r"needs about \d+ MB, but 0 MB are free there"):
        plan.check()


def test_images_that_are_all_of_another_size_are_refused_before_any_work(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, size_pix=24)
    with pytest.raises(InputError, match=r"none of 10 images from all over the list .*, such as '1\.png': wrong size"):
        plan.check()
    assert not plan.store.folder.exists()


def test_a_size_that_is_no_number_is_refused_before_any_work(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    table = pa.table({"object_id": [1, 2], "petroR90_r": ["5", "abc"]})
    targets = write_targets(LocalFolder(tmp_path), "text.parquet", table, selection={"survey": "sdss"})
    with pytest.raises(InputError, match="needs petroR90_r in arcsec, but its column is of type string"):
        replace(plan, targets=targets).check()


def test_a_file_in_the_place_of_the_store_is_refused_before_any_work(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    (tmp_path / "store.zarr").write_bytes(b"x")
    with pytest.raises(InputError, match=r"store\.zarr cannot be a folder"):
        plan.check()
    assert plan.missing_blocks() == [0, 1, 2]


def test_an_image_that_tells_another_scale_than_the_rule_is_quarantined(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, size_rule="fixed", pixel_scale_arcsec=0.262)
    told = {1: 0.262, 2: 0.2621, 4: 0.396}
    ingest_all(replace(plan, source=Telling(plan.source, told)))
    rows = plan.store.read_receipt(0).to_pylist()
    assert [row["reason"].split(":")[0] for row in rows] == ["", "", "no such file", "wrong scale"]
    assert [row["pixel_scale_arcsec"] for row in rows] == [0.262, 0.2621, 0.262, 0.396]


@dataclass(frozen=True)
class Telling:
    """A source whose images tell their scale."""

    inner: ImageSource
    scales: dict[int, float]

    def check(self, targets: TargetList) -> None:
        self.inner.check(targets)

    def read(self, targets: pa.Table) -> Iterator[Cutout]:
        for object_id, cutout in zip(targets["object_id"].to_pylist(), self.inner.read(targets), strict=True):
            yield replace(cutout, pixel_scale_arcsec=self.scales.get(object_id))
