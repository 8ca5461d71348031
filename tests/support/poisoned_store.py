"""A store in which some galaxies are poison to the predictor that scores it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from support import brightness, poison

from skymetal.catalogs.storage import Folder
from skymetal.catalogs.targets import write_targets
from skymetal.engine.score_plan import ScorePlan
from skymetal.engine.shard import StoreLayout
from skymetal.engine.store import create_store


def make_plan(folder: Folder, poisoned: Mapping[int, int], *, num_galaxies: int, shard_size: int) -> ScorePlan:
    """Write a store whose galaxies at some rows are poisonous, of a kind each; every 97th galaxy has no image."""
    random = np.random.default_rng(5)
    images = random.integers(0, 200, (num_galaxies, *poison.SPEC.frame)).astype(np.uint8)
    for row, kind in poisoned.items():
        poison.poison(images[row], kind)
    object_id = 10_000 + 3 * np.arange(num_galaxies)
    targets = write_targets(folder, "targets.parquet", pa.table({"object_id": object_id}), selection={})
    layout = StoreLayout(
        image_spec=poison.SPEC,
        num_targets=num_galaxies,
        shard_size=shard_size,
        chunk_size=shard_size,
        targets_digest=targets.digest,
    )
    store = create_store(folder / "store.zarr", layout)
    is_stored = np.arange(num_galaxies) % 97 != 96
    images[~is_stored] = 0
    for index in range(store.num_blocks):
        rows = slice(*layout.rows(index))
        receipt = pa.table(
            {
                "object_id": object_id[rows],
                "is_stored": is_stored[rows],
                "ingest_flags": np.zeros(rows.stop - rows.start, np.int32),
                "pixel_scale_arcsec": pa.nulls(rows.stop - rows.start, pa.float64()),
                "source": [f"{each}.jpg" for each in object_id[rows]],
                "reason": ["" if each else "blank" for each in is_stored[rows]],
            }
        )
        store.write_block(index, images[rows], receipt)
    store.finish()
    return ScorePlan(
        store=store,
        targets=targets,
        parts=folder / "parts",
        predictor=poison.ref(),
        reference=brightness.REFERENCE,
        run_digest="run",
    )
