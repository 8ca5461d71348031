"""score: one distributed pass over the store; one shard in, one part of the catalogue out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa
from distributed import Client
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.parts import Manifest, PartReceipt, commit_part, find_receipt, missing_blocks, write_manifest
from skymetal.catalogs.schema import CALIBRATED, catalogue_schema
from skymetal.catalogs.storage import Folder
from skymetal.catalogs.targets import TargetList
from skymetal.engine.blocks import map_over_blocks
from skymetal.engine.predict import NUM_VIEWS, Predictions, Predictor, PredictorRef
from skymetal.engine.store import Block, CutoutStore


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """The job file's ``[score]``.

    ensemble is the folder of a trained ensemble; left out, the run trains its own. views is how many of the
    eight flips and rotations are averaged, batch_size how many images go through the network at once.
    """

    ensemble: str = field(default="", metadata={"path": True})
    views: int = 8
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.views not in NUM_VIEWS:
            raise InputError(f"[score] views must be one of {', '.join(map(str, NUM_VIEWS))}, got {self.views}")
        if not 1 <= self.batch_size <= 65536:
            raise InputError(f"[score] batch_size must be 1 to 65536, got {self.batch_size}")


@dataclass(frozen=True, kw_only=True)
class ScorePlan:
    """All that a worker needs to know to score one shard. run_digest names everything the parts depend on."""

    store: CutoutStore
    targets: TargetList
    parts: Folder
    predictor: PredictorRef
    run_digest: str

    def check(self) -> None:
        """Raise InputError, before any work, for an ensemble of other images or a store of other targets."""
        self.predictor.image_spec.refuse_unless_same(
            self.store.image_spec, ours=f"the ensemble {self.predictor.path}", theirs=f"the store {self.store.folder}"
        )
        if self.store.layout.targets_digest != self.targets.digest:
            raise InputError(
                f"the store {self.store.folder} was made for another target list than {self.targets.path}; ingest again"
            )

    def missing_blocks(self) -> list[int]:
        """Return the shards that have no part yet."""
        return missing_blocks(self.parts, self.store.num_blocks, run_digest=self.run_digest)


def score(plan: ScorePlan, client: Client) -> Iterator[PartReceipt]:
    """Score every shard that has no part yet, yielding each part's receipt as it is committed."""
    yield from map_over_blocks(partial(score_block, plan), plan.missing_blocks(), client)


def finish_score(plan: ScorePlan) -> Manifest:
    """Sum the parts into a manifest and prove that no galaxy was lost.

    Raises RuntimeError when a part is missing or the counts do not add up.
    """
    manifest = write_manifest(plan.parts, plan.store.num_blocks, run_digest=plan.run_digest)
    if manifest.num_rows + manifest.num_quarantined != plan.store.num_targets:
        raise RuntimeError(
            f"{manifest.num_rows} scored + {manifest.num_quarantined} quarantined "
            f"is not the {plan.store.num_targets} galaxies of {plan.targets.path}"
        )
    return manifest


def score_block(plan: ScorePlan, index: int) -> PartReceipt:
    """Score one shard and commit its part; return at once where that was done before."""
    done = find_receipt(plan.parts, index, run_digest=plan.run_digest)
    if done is not None:
        return done
    block = plan.store.read_block(index)
    targets = plan.targets.read(block.start, block.stop)
    if not np.array_equal(targets["object_id"].to_numpy(), block.object_id):
        raise RuntimeError(f"shard {index} of {plan.store.folder} holds other galaxies than {plan.targets.path}")
    predictor = plan.predictor.open()
    stored = block.is_stored
    unseen_NM = predictor.unseen(block.object_id[stored])
    predictions = predictor.predict(block.images[stored], unseen_NM)
    table = catalogue_rows(block, targets, predictions, unseen_NM, predictor)
    num_quarantined = int(np.count_nonzero(~stored))
    return commit_part(plan.parts, index, table, num_quarantined=num_quarantined, run_digest=plan.run_digest)


def catalogue_rows(
    block: Block,
    targets: pa.Table,
    predictions: Predictions,
    unseen_NM: NDArray[np.bool_],
    predictor: Predictor,
) -> pa.Table:
    """Turn predictions into catalogue rows, in the order of the block.

    A galaxy with a training label is described by the one member that never saw it, all others by every member.
    Raises RuntimeError for a prediction that is not finite: no such number may reach a catalogue.
    """
    oh_NMV = predictions.oh_NMV
    if not np.isfinite(oh_NMV[unseen_NM]).all():
        raise RuntimeError(f"the ensemble predicts a value that is not finite for a galaxy of shard {block.index}")
    num_members = unseen_NM.shape[1]
    oh_NM = np.where(unseen_NM, oh_NMV.astype(np.float64).mean(axis=2), np.nan)
    var_NM = np.where(unseen_NM, oh_NMV.astype(np.float64).var(axis=2), np.nan)
    count_N = unseen_NM.sum(axis=1)
    oh_N = np.nansum(oh_NM, axis=1) / count_N
    std_folds_N = np.sqrt(np.nansum((oh_NM - oh_N[:, None]) ** 2, axis=1) / count_N)
    std_views_N = np.sqrt(np.nansum(var_NM, axis=1) / count_N)

    schema = catalogue_schema(num_folds=num_members, has_sky="_healpix_29" in targets.column_names).to_arrow()
    kept = targets.filter(pa.array(block.is_stored)).combine_chunks()
    columns: dict[str, pa.Array] = {name: kept[name] for name in kept.column_names if name in schema.names}
    calibrated = predictor.calibrate(oh_N, std_views_N, count_N < num_members)
    columns |= {name: pa.array(calibrated[name]) for name in CALIBRATED}
    columns["oh_std_folds"] = pa.array(std_folds_N, mask=count_N < 2)
    columns["oh_std_views"] = pa.array(std_views_N)
    columns |= {f"oh_fold{m}": pa.array(oh_NM[:, m], mask=~unseen_NM[:, m]) for m in range(num_members)}
    columns["is_out_of_fold"] = pa.array(count_N < num_members)
    columns["flags"] = pa.array(block.flags[block.is_stored])
    arrays = [columns[field.name].cast(field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)
