"""score: one distributed pass over the store; one shard in, one part of the catalogue out."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa
from distributed import Client
from distributed.system import MEMORY_LIMIT
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.parts import Manifest, PartReceipt, commit_part, find_receipt, missing_blocks, write_manifest
from skymetal.catalogs.storage import Folder
from skymetal.catalogs.targets import TargetList
from skymetal.engine.attempts import MAX_LOST, attempt, forget_all_attempts, forget_attempts
from skymetal.engine.blocks import map_over_blocks
from skymetal.engine.careful.client import CarefulLimits
from skymetal.engine.careful.culprits import predict_carefully
from skymetal.engine.predict import NUM_VIEWS, RUNTIMES, Predictions, Predictor, PredictorRef
from skymetal.engine.rows import Usual, catalogue_rows
from skymetal.engine.store import Block, CutoutStore
from skymetal.engine.watchdog import watch

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """The job file's ``[score]``.

    ensemble is the folder of a trained ensemble; left out, the run trains its own. views is how many of the
    eight flips and rotations are averaged, batch_size how many images go through the network at once (0: as many as
    suit the runtime). runtime is what computes: ``auto`` is torch on GPUs, else MNN where it is installed. What takes
    longer than block_timeout_min, a shard or in the end a galaxy, is taken to hang.
    """

    ensemble: str = field(default="", metadata={"path": True})
    views: int = 8
    batch_size: int = 0
    runtime: str = "auto"
    block_timeout_min: float = 30.0

    def __post_init__(self) -> None:
        if self.views not in NUM_VIEWS:
            raise InputError(f"[score] views must be one of {', '.join(map(str, NUM_VIEWS))}, got {self.views}")
        if not 0 <= self.batch_size <= 65536:
            raise InputError(f"[score] batch_size must be 0 (as suits the runtime) to 65536, got {self.batch_size}")
        if self.runtime not in RUNTIMES:
            raise InputError(f"[score] runtime must be one of {', '.join(RUNTIMES)}, got {self.runtime!r}")
        if not 0.01 <= self.block_timeout_min <= 10080:
            raise InputError(
                f"[score] block_timeout_min must be 0.01 to 10080 (a week), got {self.block_timeout_min:g}"
            )


@dataclass(frozen=True, kw_only=True)
class ScorePlan:
    """All that a worker needs to know to score one shard. run_digest names everything the parts depend on.

    A worker that is longer than block_timeout_s at one shard ends itself.
    """

    store: CutoutStore
    targets: TargetList
    parts: Folder
    predictor: PredictorRef
    usual: Usual
    run_digest: str
    block_timeout_s: float = 1800.0

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

    Raises RuntimeError when a part is missing, the counts do not add up, or no galaxy could be scored.
    """
    manifest = write_manifest(plan.parts, plan.store.num_blocks, run_digest=plan.run_digest)
    if manifest.num_rows + manifest.num_quarantined != plan.store.num_targets:
        raise RuntimeError(
            f"{manifest.num_rows} scored + {manifest.num_quarantined} quarantined "
            f"is not the {plan.store.num_targets} galaxies of {plan.targets.path}"
        )
    if manifest.num_rows == 0 and manifest.rejected:
        object_id, reason = min(manifest.rejected.items())
        raise RuntimeError(
            f"not one of {len(manifest.rejected)} galaxies could be scored, as {object_id} ({reason}); "
            f"something is wrong with {plan.predictor.path}: mend it and delete {plan.parts}"
        )
    forget_all_attempts(plan.parts)
    return manifest


def score_block(plan: ScorePlan, index: int) -> PartReceipt:
    """Score one shard and commit its part; return at once where that was done before.

    A galaxy that cannot be predicted is quarantined, whatever it does to the process; all others have the rows that
    they would have without it.
    """
    done = find_receipt(plan.parts, index, run_digest=plan.run_digest)
    if done is not None:
        return done
    with attempt(plan.parts, index) as num_lost:
        with watch(plan.block_timeout_s):
            block, targets = _read(plan, index)
            predictor = plan.predictor.open()
            unseen_NM = predictor.unseen(block.object_id[block.is_stored])
            is_suspect = num_lost >= MAX_LOST
            predictions = None if is_suspect else _predict(predictor, block.images[block.is_stored], unseen_NM)
        reasons: dict[int, str] = {}
        if predictions is None:
            limits = CarefulLimits(seconds=plan.block_timeout_s, memory_bytes=MEMORY_LIMIT)
            images_NHWC = block.images[block.is_stored]
            predictions, reasons = predict_carefully(plan.predictor, images_NHWC, unseen_NM, limits)
        is_finite_N = (np.isfinite(predictions.oh_NMV) | ~unseen_NM[:, :, None]).all(axis=(1, 2))
        reasons = {int(row): "the prediction is not finite" for row in np.flatnonzero(~is_finite_N)} | reasons
        block, rejected = _reject(block, reasons)
        is_kept_N = ~np.isin(np.arange(len(unseen_NM)), list(reasons))
        predictions = _select(predictions, is_kept_N)
        table = catalogue_rows(block, targets, predictions, unseen_NM[is_kept_N], predictor, plan.usual)
        receipt = commit_part(
            plan.parts,
            index,
            table,
            num_quarantined=int(np.count_nonzero(~block.is_stored)),
            run_digest=plan.run_digest,
            rejected=rejected,
        )
    forget_attempts(plan.parts, index)
    return receipt


def _read(plan: ScorePlan, index: int) -> tuple[Block, pa.Table]:
    block = plan.store.read_block(index)
    targets = plan.targets.read(block.start, block.stop)
    if not np.array_equal(targets["object_id"].to_numpy(), block.object_id):
        raise RuntimeError(f"shard {index} of {plan.store.folder} holds other galaxies than {plan.targets.path}")
    return block, targets


def _predict(predictor: Predictor, images_NHWC: NDArray[np.uint8], unseen_NM: NDArray[np.bool_]) -> Predictions | None:
    """Return the predictions, or None where the predictor raises anything at all."""
    try:
        return predictor.predict(images_NHWC, unseen_NM)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit and a Rust panic too: which galaxy it was is to be found out
        logger.warning("a block is scored again, carefully: %s: %s", type(error).__name__, error)
        return None


def _reject(block: Block, reasons: Mapping[int, str]) -> tuple[Block, list[tuple[int, str]]]:
    """Return the block without some of its stored galaxies, by their place among them; and their ids with reasons."""
    rows = {int(np.flatnonzero(block.is_stored)[place]): reason for place, reason in sorted(reasons.items())}
    is_stored = block.is_stored.copy()
    is_stored[list(rows)] = False
    rejected = [(int(block.object_id[row]), f"scoring: {reason}") for row, reason in rows.items()]
    return dataclasses.replace(block, is_stored=is_stored), rejected


def _select(predictions: Predictions, is_kept_N: NDArray[np.bool_]) -> Predictions:
    embedding_NF = predictions.embedding_NF
    return Predictions(
        oh_NMV=predictions.oh_NMV[is_kept_N],
        ood_NM=predictions.ood_NM[is_kept_N],
        embedding_NF=None if embedding_NF is None else embedding_NF[is_kept_N],
    )
