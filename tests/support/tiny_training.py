"""A training small enough for a test: cutouts of 32 pixels whose redness is their metallicity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skymetal.catalogs.storage import LocalFolder
from skymetal.catalogs.targets import TargetList, write_targets
from skymetal.engine.pixels import ImageSpec
from skymetal.engine.shard import StoreLayout
from skymetal.engine.store import CutoutStore, create_store
from skymetal.train.plan import TrainPlan, make_plan
from skymetal.train.settings import TrainSettings

SIZE_PIX = 32
SPEC = ImageSpec(survey="sdss", bands=("i", "r", "g"), size_pix=SIZE_PIX, stretch="sdss-jpeg", size_rule="petro5")
QUARANTINED_ROW = 5
UNLABELLED_ROW = 7


def make_cutouts(num_galaxies: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return images (N, 32, 32, 3) and metallicities (N,)."""
    random = np.random.default_rng(3)
    oh = random.normal(8.9, 0.2, num_galaxies).astype(np.float32)
    y, x = np.mgrid[:SIZE_PIX, :SIZE_PIX] - (SIZE_PIX - 1) / 2
    profile = np.exp(-np.hypot(x, y * 1.6) / 5)
    redness = np.clip((oh - 8.9) / 0.4, -0.9, 0.9)
    light = 120 * np.stack([1 + redness / 2, np.ones_like(redness), 1 - redness / 2], axis=1)
    images = profile[None, :, :, None] * light[:, None, None, :] + random.normal(10, 2, (num_galaxies, *x.shape, 3))
    return images.clip(0, 255).astype(np.uint8), oh


def make_store(folder: LocalFolder, num_galaxies: int) -> tuple[TargetList, CutoutStore]:
    """Write a target list and a finished store of two shards; one galaxy lacks its image, one its label."""
    images, oh = make_cutouts(num_galaxies)
    object_id = 1000 + 7 * np.arange(num_galaxies)
    labels = oh.copy()
    labels[UNLABELLED_ROW] = np.nan
    table = pa.table({"object_id": object_id, "oh_p50": labels, "lgm_tot_p50": 10 + oh, "same": np.ones(num_galaxies)})
    targets = write_targets(folder, "targets.parquet", table, selection={})
    layout = StoreLayout(
        image_spec=SPEC,
        num_targets=num_galaxies,
        shard_size=-(-num_galaxies // 2),
        chunk_size=4 if -(-num_galaxies // 2) % 4 == 0 else 1,
        targets_digest=targets.digest,
    )
    store = create_store(folder / "store.zarr", layout)
    is_stored = np.arange(num_galaxies) != QUARANTINED_ROW
    images[QUARANTINED_ROW] = 0
    for index in range(store.num_blocks):
        rows = slice(*layout.rows(index))
        receipt = pa.table(
            {
                "object_id": object_id[rows],
                "is_stored": is_stored[rows],
                "ingest_flags": np.zeros(len(object_id[rows]), np.int32),
                "pixel_scale_arcsec": pa.nulls(len(object_id[rows]), pa.float64()),
                "source": ["simulated"] * len(object_id[rows]),
                "reason": ["" if stored else "no image" for stored in is_stored[rows]],
            }
        )
        store.write_block(index, images[rows], receipt)
    store.finish()
    return targets, store


def tiny_plan(root: Path, settings: TrainSettings | None = None, *, num_galaxies: int = 32, seed: int = 1) -> TrainPlan:
    """Write a store under ``root`` unless one is there, and return a plan of two folds and two epochs on it."""
    if not (root / "store.zarr").exists():
        make_store(LocalFolder(root), num_galaxies)
    return make_plan(
        settings or TrainSettings(num_folds=2, num_epochs=2, batch_size=16),
        store=root / "store.zarr",
        targets=root / "targets.parquet",
        ensemble=root / "ensemble",
        checkpoints=root / "checkpoints",
        seed=seed,
    )
