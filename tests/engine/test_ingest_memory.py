"""The memory that `plan` states is what a worker takes, and does not grow with the survey."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zarr
from support.workers import peak_bytes

from skymetal.catalogs.storage import LocalFolder
from skymetal.catalogs.targets import write_targets
from skymetal.deploy.clusters.lazy import LazyCluster
from skymetal.deploy.clusters.settings import ClusterSettings
from skymetal.engine.images import ImageSettings
from skymetal.engine.ingest import ingest, make_ingest_plan
from skymetal.engine.store import create_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SIZE_PIX = 64
SHARD_SIZE = 4096  # 50 MB of pixels


def test_a_worker_takes_what_the_plan_says_however_many_shards_there_are(tmp_path: Path) -> None:
    num_galaxies = 6 * SHARD_SIZE
    write_array(tmp_path / "cutouts.zarr", num_galaxies)
    settings = ImageSettings(
        source="array", folder=str(tmp_path / "cutouts.zarr"), size_pix=SIZE_PIX, shard_size=SHARD_SIZE
    )
    peaks = []
    for number, size in enumerate((2 * SHARD_SIZE, num_galaxies)):
        folder = LocalFolder(tmp_path / f"run{number}")
        table = pa.table({"object_id": np.arange(size) + 1})
        targets = write_targets(folder, "targets.parquet", table, selection={"survey": "test"})
        plan = make_ingest_plan(settings, targets=targets, run_dir=folder, seed=0)
        plan.check()
        create_store(plan.store.folder, plan.store.layout)
        cluster = ClusterSettings(kind="local-cpu", num_workers=1)
        with LazyCluster(cluster, scratch=tmp_path / "scratch") as lazy:
            assert sum(receipt.num_stored for receipt in ingest(plan, lazy.client())) == size
            peaks.append(max(lazy.client().run(peak_bytes).values()))
        assert peaks[-1] < plan.worker_bytes
    assert peaks[1] < 1.3 * peaks[0]


def write_array(path: Path, num_galaxies: int) -> None:
    group = zarr.open_group(str(path), mode="w")
    images = group.create_array(
        "images", shape=(num_galaxies, SIZE_PIX, SIZE_PIX, 3), chunks=(64, SIZE_PIX, SIZE_PIX, 3), dtype="uint8"
    )
    group.create_array("object_id", data=np.arange(num_galaxies) + 1)
    rng = np.random.default_rng(1)
    for first in range(0, num_galaxies, 1024):
        images[first : first + 1024] = rng.integers(0, 256, (1024, SIZE_PIX, SIZE_PIX, 3), dtype=np.uint8)
