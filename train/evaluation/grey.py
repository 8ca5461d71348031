"""The grey control: what a colour ensemble makes of images without colour (Wu & Boada 2019, section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skymetal.catalogs.targets import TargetList
from skymetal.engine.predict import PredictorRef
from skymetal.engine.store import CutoutStore
from skymetal.train.evaluation.rivals import Rival


@dataclass(frozen=True, kw_only=True)
class GreyPlan:
    """All that a worker needs to predict one shard from grey images: those galaxies that have one of ``truths``."""

    store: CutoutStore
    targets: TargetList
    predictor: PredictorRef
    truths: tuple[str, ...]


def grey(images_NHWC: NDArray[Any]) -> NDArray[Any]:
    """Return images of the same shape and type in which every band is the mean of all, rounded."""
    mean_NHW1 = images_NHWC.mean(axis=3, keepdims=True, dtype=np.float32)
    if np.issubdtype(images_NHWC.dtype, np.integer):
        mean_NHW1 = np.rint(mean_NHW1)
    return np.broadcast_to(mean_NHW1.astype(images_NHWC.dtype), images_NHWC.shape).copy()


def predict_grey(plan: GreyPlan, index: int) -> pa.Table:
    """Return object_id and oh, dex, of a shard's galaxies: the mean of the members that never saw them."""
    block = plan.store.read_block(index)
    table = plan.targets.read(block.start, block.stop)
    truths = [np.isfinite(table[name].cast(pa.float64()).to_numpy()) for name in plan.truths]
    rows = np.flatnonzero(block.is_stored & np.any(truths, axis=0))
    object_id_N = block.object_id[rows]
    predictor = plan.predictor.open()
    oh_NMV = predictor.predict(grey(block.images[rows]), predictor.unseen(object_id_N)).oh_NMV
    return pa.table({"object_id": object_id_N, "oh": np.nanmean(oh_NMV.astype(np.float64), axis=(1, 2))})


def grey_rival(tables: Sequence[pa.Table]) -> Rival:
    """Return the shards' predictions as one rival."""
    table = pa.concat_tables(tables).sort_by("object_id")
    return Rival(
        name="grey",
        title="this ensemble, grey images",
        object_id_S=table["object_id"].to_numpy(),
        oh_S=table["oh"].to_numpy(),
    )
