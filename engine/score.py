"""score: one distributed pass over the store; one shard in, one part of the catalogue out."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from distributed import Client, get_worker
from distributed.system import MEMORY_LIMIT
from numpy.typing import NDArray

from skymetal.catalogs.measures import OH_RANGE
from skymetal.catalogs.parts import Manifest, PartReceipt, commit_part, find_receipt, write_manifest
from skymetal.engine.appearance import measure_appearance
from skymetal.engine.attempts import MAX_LOST, attempt, forget_all_attempts, forget_attempts
from skymetal.engine.blocks import map_over_blocks
from skymetal.engine.careful.client import CarefulLimits
from skymetal.engine.careful.culprits import predict_carefully
from skymetal.engine.monitor import PartSummary, summarise_part
from skymetal.engine.predict import Predictions, Predictor
from skymetal.engine.rows import catalogue_rows, flag_galaxies, flag_neighbours, mean_ood
from skymetal.engine.score_plan import ScorePlan
from skymetal.engine.store import Block
from skymetal.engine.watchdog import watch

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ScoredPart:
    """A part that is committed: its receipt; what it holds (None where it was there before); who took how long."""

    receipt: PartReceipt
    summary: PartSummary | None = None
    worker: str = ""
    seconds: float = 0.0


def score(plan: ScorePlan, client: Client) -> Iterator[ScoredPart]:
    """Score every shard that has no part yet, yielding each part as it is committed."""
    yield from map_over_blocks(partial(score_block, plan), plan.missing_blocks(), client)


def finish_score(plan: ScorePlan) -> Manifest:
    """Sum the parts into a manifest and prove that no galaxy was lost.

    Raises RuntimeError when a part is missing, the counts do not add up, or no galaxy could be scored.
    """
    manifest = write_manifest(plan.parts, plan.store.num_blocks, run_digest=plan.run_digest)
    if manifest.num_rows + manifest.num_quarantined != plan.store.num_targets:
        raise RuntimeError(
            f"{manifest.num_rows} scored + {manifest.num_quarantined} quarantined "
            f"is not the {plan.store.num_targets} galaxies of {plan.targets}"
        )
    if manifest.num_rows == 0 and manifest.rejected:
        object_id, reason = min(manifest.rejected.items())
        raise RuntimeError(
            f"not one of {len(manifest.rejected)} galaxies could be scored, as {object_id} ({reason}); "
            f"something is wrong with {plan.predictor.path}: mend it and delete {plan.parts}"
        )
    forget_all_attempts(plan.parts)
    return manifest


def score_block(plan: ScorePlan, index: int) -> ScoredPart:
    """Score one shard and commit its part; return at once where that was done before.

    A galaxy that cannot be predicted is quarantined, whatever it does to the process; all others have the rows that
    they would have without it.
    """
    begun = time.perf_counter()
    done = find_receipt(plan.parts, index, run_digest=plan.run_digest)
    if done is not None:
        return ScoredPart(receipt=done)
    with attempt(plan.parts, index) as num_lost:
        made = make_rows(plan, index, is_suspect=num_lost >= MAX_LOST)
        receipt = commit_part(
            plan.parts,
            index,
            made.table,
            num_quarantined=made.num_quarantined,
            run_digest=plan.run_digest,
            rejected=made.rejected,
        )
    forget_attempts(plan.parts, index)
    summary = summarise_part(made.table, made.truth_N, plan.reference, made.appearance_NC)
    return ScoredPart(receipt=receipt, summary=summary, worker=_worker_name(), seconds=time.perf_counter() - begun)


@dataclass(frozen=True, kw_only=True)
class MadeRows:
    """A shard's rows of the catalogue, who was rejected and why, and what was seen on the way."""

    table: pa.Table
    num_quarantined: int
    rejected: list[tuple[int, str]]
    truth_N: NDArray[np.float64]
    appearance_NC: NDArray[np.float32]


def make_rows(plan: ScorePlan, index: int, *, is_suspect: bool = False) -> MadeRows:
    """Score one shard and commit nothing. One that is_suspect is scored in a process of its own from the start."""
    with watch(plan.block_timeout_s):
        block, targets = _read(plan, index)
        predictor = plan.predictor.open()
        unseen_NM = predictor.unseen(block.object_id[block.is_stored])
        predictions = None if is_suspect else _predict(predictor, block.stored_images, unseen_NM)
    reasons: dict[int, str] = {}
    if predictions is None:
        limits = CarefulLimits(seconds=plan.block_timeout_s, memory_bytes=MEMORY_LIMIT)
        predictions, reasons = predict_carefully(plan.predictor, block.stored_images, unseen_NM, limits)
    is_finite_N = (np.isfinite(predictions.oh_NMV) | ~unseen_NM[:, :, None]).all(axis=(1, 2))
    is_finite_N &= (np.isfinite(predictions.ood_NM) | ~unseen_NM).all(axis=1)
    reasons = {int(row): "the prediction is not finite" for row in np.flatnonzero(~is_finite_N)} | reasons
    block, rejected = _reject(block, reasons)
    is_kept_N = ~np.isin(np.arange(len(unseen_NM)), list(reasons))
    predictions, unseen_NM = _select(predictions, is_kept_N), unseen_NM[is_kept_N]
    appearance_NC = measure_appearance(block.images)[block.is_stored]
    flags_N = flag_galaxies(block, mean_ood(predictions, unseen_NM), appearance_NC, plan.reference)
    flags_N |= flag_neighbours(block, targets, plan.targets.read_groups())
    return MadeRows(
        table=catalogue_rows(block, targets, predictions, unseen_NM, predictor, flags_N),
        num_quarantined=int(np.count_nonzero(~block.is_stored)),
        rejected=rejected,
        truth_N=_truth(plan, targets)[block.is_stored],
        appearance_NC=appearance_NC,
    )


def _worker_name() -> str:
    try:
        return str(get_worker().address)
    except ValueError:  # called outside of a worker
        return ""


def _truth(plan: ScorePlan, targets: pa.Table) -> NDArray[np.float64]:
    """Return what is known of each galaxy's metallicity, by the first column that has it; NaN where none has."""
    truth_N = np.full(len(targets), np.nan)
    for name in plan.truths:
        values_N = targets[name].cast(pa.float64(), safe=False).to_numpy()
        is_known_N = (values_N >= OH_RANGE[0]) & (values_N <= OH_RANGE[1])  # -99 and the like are no metallicities
        truth_N = np.where(np.isfinite(truth_N) | ~is_known_N, truth_N, values_N)
    return truth_N


def _read(plan: ScorePlan, index: int) -> tuple[Block, pa.Table]:
    block = plan.store.read_block(index)
    targets = plan.targets.read(block.start, block.stop)
    if not np.array_equal(targets["object_id"].to_numpy(), block.object_id):
        raise RuntimeError(f"shard {index} of {plan.store.folder} holds other galaxies than {plan.targets}")
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
