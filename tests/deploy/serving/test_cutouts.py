from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.served_run import QUARANTINED, make_run, pixels_of

from skymetal.catalogs.catalog import open_catalog
from skymetal.catalogs.errors import InputError
from skymetal.deploy.pictures import to_png
from skymetal.deploy.serving.cutouts import Cutouts, open_cutouts


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def cutouts(run_dir: Path) -> Cutouts:
    return open_cutouts(open_catalog(run_dir))


def read(png: bytes | None) -> NDArray[Any]:
    assert png is not None
    return np.asarray(Image.open(io.BytesIO(png)))


def test_every_galaxy_of_the_catalogue_has_its_own_pixels(run_dir: Path, cutouts: Cutouts) -> None:
    for object_id in open_catalog(run_dir).sample(30)["object_id"].to_pylist():
        assert (read(cutouts.png(object_id)) == pixels_of(object_id)).all()


@pytest.mark.parametrize("object_id", [0, -5, 10**18 - 1, 2**63 - 1, -(2**63), 2**63, 10**19, QUARANTINED])
def test_what_has_no_image_has_no_picture(cutouts: Cutouts, object_id: int) -> None:
    assert cutouts.png(object_id) is None


def test_pixels_that_are_not_those_that_were_ingested_are_not_shown(run_dir: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run_dir, tmp_path / "run", symlinks=True)
    shards = sorted((copy / "store.zarr" / "images" / "c").rglob("0"))
    files = [path for path in shards if path.is_file()]
    first, second = files[0].read_bytes(), files[1].read_bytes()
    files[0].write_bytes(second)
    files[1].write_bytes(first)
    swapped = open_cutouts(open_catalog(copy))
    object_id = swapped.targets.read(0, 1)["object_id"][0].as_py()
    with pytest.raises(RuntimeError, match="does not hold the pixels that were ingested"):
        swapped.png(object_id)


def test_a_target_list_of_another_store_gives_no_pictures_rather_than_others(run_dir: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run_dir, tmp_path / "run", symlinks=True)
    other = make_run(tmp_path / "other", has_sky=False)
    shutil.copy(other / "targets.parquet", copy / "targets.parquet")
    mixed = open_cutouts(open_catalog(copy))
    shown = [mixed.png(object_id) for object_id in open_catalog(copy).sample(20)["object_id"].to_pylist()]
    assert shown.count(None) > 15


def test_a_catalogue_away_from_its_run_or_a_run_without_its_store_says_so(run_dir: Path, tmp_path: Path) -> None:
    away = shutil.copytree(run_dir / "catalogue", tmp_path / "published")
    with pytest.raises(InputError, match="this catalogue is not in a run directory"):
        open_cutouts(open_catalog(away))
    copy = shutil.copytree(run_dir, tmp_path / "run", symlinks=True)
    shutil.rmtree(copy / "store.zarr")
    with pytest.raises(InputError, match="there is no cutout store at"):
        open_cutouts(open_catalog(copy))


@pytest.mark.parametrize("path", ["", "catalogue", "catalogue/tiny"])
def test_the_run_is_found_however_its_catalogue_is_named(run_dir: Path, path: str) -> None:
    assert open_cutouts(open_catalog(run_dir / path)).store.num_targets == 3001


def test_one_band_is_grey_and_flux_is_stretched_to_be_seen() -> None:
    rng = np.random.default_rng(1)
    one_band = rng.integers(0, 256, (8, 8, 1)).astype(np.uint8)
    assert (read(to_png(one_band)) == one_band).all()
    flux = rng.normal(0, 0.01, (32, 32, 4)).astype(np.float32)
    flux[16, 16], flux[0, 0] = 50.0, np.nan
    shown = read(to_png(flux))
    assert shown.shape == (32, 32, 3)
    assert shown[16, 16].tolist() == [255, 255, 255]
    assert len(np.unique(shown)) > 3
    assert read(to_png(np.full((4, 4, 3), np.nan, np.float32))).max() == 0
