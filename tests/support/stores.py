"""A store of twenty galaxies in three shards, two chunks a shard, the tenth galaxy quarantined."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skymetal.catalogs.storage import LocalFolder
from skymetal.engine.pixels import ImageSpec
from skymetal.engine.shard import StoreLayout
from skymetal.engine.store import CutoutStore, create_store

SPEC = ImageSpec(survey="sdss", bands=("i", "r", "g"), size_pix=16, stretch="sdss-jpeg", size_rule="petro5")
LAYOUT = StoreLayout(image_spec=SPEC, num_targets=20, shard_size=8, chunk_size=4, targets_digest="abc")


def images() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (20, 16, 16, 3)).astype(np.uint8)


def rows(start: int, stop: int) -> pa.Table:
    """Return the rows of a receipt, but for the checksums."""
    stored = [index != 9 for index in range(start, stop)]
    return pa.table(
        {
            "object_id": [1000 + index for index in range(start, stop)],
            "is_stored": stored,
            "ingest_flags": [index % 2 for index in range(start, stop)],
            "pixel_scale_arcsec": [0.4] * (stop - start),
            "source": [f"{index}.jpg" for index in range(start, stop)],
            "reason": ["" if ok else "no such file" for ok in stored],
        }
    )


def fill(folder: LocalFolder, *, pixels: NDArray[Any] | None = None, layout: StoreLayout = LAYOUT) -> CutoutStore:
    """Write the whole store, of other pixels where some are given."""
    pixels = images() if pixels is None else pixels
    store = create_store(folder, layout)
    for index in range(store.num_blocks):
        start, stop = layout.rows(index)
        store.write_block(index, pixels[start:stop], rows(start, stop))
    store.finish()
    return store
