"""A store, and the plan of a pass over it by some quick predictor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from support import brightness

from skymetal.catalogs.storage import LocalFolder
from skymetal.catalogs.targets import write_targets
from skymetal.engine.predict import PredictorRef
from skymetal.engine.score_plan import ScorePlan
from skymetal.engine.shard import StoreLayout
from skymetal.engine.store import create_store


def make_plan(
    folder: LocalFolder,
    table: pa.Table,
    images_of: Callable[[NDArray[np.int64]], NDArray[Any]],
    predictor: PredictorRef,
    *,
    shard_size: int,
    rows: dict[str, Callable[[int], Any]] | None = None,
) -> ScorePlan:
    """Write a target list and its store, and plan to score it.

    images_of gives the pixels of some object_ids; rows says, of an object_id, what its receipt holds besides the usual.
    """
    targets = write_targets(folder, "targets.parquet", table, selection={"survey": "sdss"})
    layout = StoreLayout(
        image_spec=predictor.image_spec,
        num_targets=len(table),
        shard_size=shard_size,
        chunk_size=shard_size,
        targets_digest=targets.digest,
    )
    store = create_store(folder / "store.zarr", layout)
    usual: dict[str, Callable[[int], Any]] = {
        "is_stored": lambda _: True,
        "ingest_flags": lambda _: 0,
        "pixel_scale_arcsec": lambda _: 0.4,
        "source": lambda each: f"{each}.jpg",
        "reason": lambda _: "",
    }
    for index in range(store.num_blocks):
        object_id = targets.read(*layout.rows(index))["object_id"]
        columns = {name: [of(each) for each in object_id.to_pylist()] for name, of in (usual | (rows or {})).items()}
        store.write_block(index, images_of(object_id.to_numpy()), pa.table({"object_id": object_id, **columns}))
    store.finish()
    return ScorePlan(
        store=store,
        targets=targets,
        parts=folder / "parts",
        predictor=predictor,
        reference=brightness.REFERENCE,
        run_digest="run",
    )
