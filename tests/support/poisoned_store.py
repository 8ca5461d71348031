"""A store in which some galaxies are poison to the predictor that scores it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from support import poison, scored_store

from skymetal.catalogs.storage import LocalFolder
from skymetal.engine.score_plan import ScorePlan


def make_plan(folder: LocalFolder, poisoned: Mapping[int, int], *, num_galaxies: int, shard_size: int) -> ScorePlan:
    """Write a store whose galaxies at some rows are poisonous, of a kind each; every 97th galaxy has no image."""
    random = np.random.default_rng(5)
    images = random.integers(0, 200, (num_galaxies, *poison.SPEC.frame)).astype(np.uint8)
    for row, kind in poisoned.items():
        poison.poison(images[row], kind)
    object_id = 10_000 + 3 * np.arange(num_galaxies)
    is_stored = np.arange(num_galaxies) % 97 != 96
    images[~is_stored] = 0

    def row_of(each: int) -> int:
        return (each - 10_000) // 3

    return scored_store.make_plan(
        folder,
        pa.table({"object_id": object_id}),
        lambda some: images[(some - 10_000) // 3],
        poison.ref(),
        shard_size=shard_size,
        rows={
            "is_stored": lambda each: bool(is_stored[row_of(each)]),
            "reason": lambda each: "" if is_stored[row_of(each)] else "blank",
        },
    )
