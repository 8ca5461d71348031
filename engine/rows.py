"""From what an ensemble says of a shard's galaxies to their rows of the catalogue. N galaxies, M members, V views."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skymetal.catalogs.flags import Flag
from skymetal.catalogs.schema import CALIBRATED, EMBEDDING_SIZE, catalogue_schema
from skymetal.catalogs.selection.rows import GROUP_ID, HEALPIX
from skymetal.engine.predict import Predictions, Predictor
from skymetal.engine.reference import Reference, flag_strangers
from skymetal.engine.store import Block


def catalogue_rows(
    block: Block,
    targets: pa.Table,
    predictions: Predictions,
    unseen_NM: NDArray[np.bool_],
    predictor: Predictor,
    flags_N: NDArray[np.int32],
) -> pa.Table:
    """Turn predictions into catalogue rows, in the order of the block.

    A galaxy with a training label is described by the one member that never saw it, all others by every member.
    predictions, unseen_NM and flags_N are of the stored galaxies alone.
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

    embedding_NF = predictions.embedding_NF
    has_sky = HEALPIX in targets.column_names
    schema = catalogue_schema(num_folds=num_members, has_sky=has_sky, embeddings=embedding_NF is not None).to_arrow()
    kept = targets.filter(pa.array(block.is_stored)).combine_chunks()
    columns: dict[str, pa.Array] = {name: kept[name] for name in kept.column_names if name in schema.names}
    calibrated = predictor.calibrate(oh_N, std_views_N, count_N < num_members)
    columns |= {name: pa.array(calibrated[name]) for name in CALIBRATED}
    columns["oh_std_folds"] = pa.array(std_folds_N, mask=count_N < 2)
    columns["oh_std_views"] = pa.array(std_views_N)
    columns |= {f"oh_fold{m}": pa.array(oh_NM[:, m], mask=~unseen_NM[:, m]) for m in range(num_members)}
    columns["is_out_of_fold"] = pa.array(count_N < num_members)
    columns["ood_score"] = pa.array(mean_ood(predictions, unseen_NM))
    columns["flags"] = pa.array(flags_N)
    if embedding_NF is not None:
        columns["embedding"] = pa.FixedSizeListArray.from_arrays(pa.array(embedding_NF.ravel()), EMBEDDING_SIZE)
    arrays = [columns[field.name].cast(field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def flag_galaxies(
    block: Block, ood_N: NDArray[np.float64], appearance_NC: NDArray[np.float32], reference: Reference
) -> NDArray[np.int32]:
    """Return the stored galaxies' flags: what was noted at ingest, and what is unlike those the ensemble knows."""
    return np.asarray(block.flags[block.is_stored] | flag_strangers(reference, appearance_NC, ood_N))


def flag_neighbours(block: Block, targets: pa.Table, group_id_G: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the flag of those stored galaxies that belong to a group of several within 2 arcsec."""
    if GROUP_ID not in targets.column_names:
        return np.zeros(np.count_nonzero(block.is_stored), np.int32)
    is_grouped_N = np.isin(targets[GROUP_ID].to_numpy()[block.is_stored], group_id_G)
    return np.where(is_grouped_N, np.int32(Flag.NEIGHBOUR), np.int32(0))


def mean_ood(predictions: Predictions, unseen_NM: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how far each galaxy is from what the members that may judge it have learnt from (N,)."""
    return np.asarray(np.nanmean(np.where(unseen_NM, predictions.ood_NM.astype(np.float64), np.nan), axis=1))
