"""One fold, whole: its member trained, the galaxies it never saw predicted, both committed. N galaxies, V views."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from skymetal.catalogs.parts import encode_parquet
from skymetal.catalogs.storage import digest, open_folder
from skymetal.train.data import read_training_set
from skymetal.train.fit import FoldData, Watch, make_member, predict_rows, split, train_member
from skymetal.train.folds import TEST_FOLD
from skymetal.train.member import MemberReceipt, find_receipt, receipt_name
from skymetal.train.network.network import MetallicityNet
from skymetal.train.network.views import HELD_OUT_VIEWS
from skymetal.train.plan import TrainPlan
from skymetal.train.ranks.gang import Gang
from skymetal.train.refused import TrainingRefused
from skymetal.train.state import remove_checkpoint


def fit_fold(plan: TrainPlan, fold: int, *, watch: Watch | None = None, gang: Gang | None = None) -> None:
    """Train the member of ``fold`` as one rank of its gang; done before, do nothing. Rank 0 commits.

    The pixels must have been gathered. Raises TrainingRefused where the weights are not finite after training.
    """
    watch, gang = watch or Watch(), gang or Gang()
    ensemble = open_folder(plan.ensemble)
    if find_receipt(ensemble, fold, plan_digest=plan.digest):
        return
    task = split(plan, fold, read_training_set(plan), watch.beat)
    state = train_member(plan, fold, task, watch, gang)
    _refuse_not_finite(state.network)

    member = make_member(plan, state, task)
    tables = []
    for rows, number in ((task.held_out_rows, fold), (task.data.test_rows, TEST_FOLD)):
        predicted_NVK = predict_rows(member, task, rows, num_views=HELD_OUT_VIEWS, gang=gang, beat=watch.beat)
        tables.append(_predictions(plan, task, rows, predicted_NVK, number))
    if gang.rank != 0:
        return
    weights = save({name: tensor.cpu().contiguous() for name, tensor in state.network.state_dict().items()})
    predictions = encode_parquet(pa.concat_tables(tables).combine_chunks())
    receipt = MemberReceipt(
        plan_digest=plan.digest,
        fold=fold,
        weights_file=f"fold{fold}-{digest(weights)[:12]}.safetensors",
        weights_digest=digest(weights),
        predictions_file=f"fold{fold}-{digest(predictions)[:12]}.parquet",
        predictions_digest=digest(predictions),
        label_mean=tuple(task.label_mean_K.tolist()),
        label_std=tuple(task.label_std_K.tolist()),
        normalisation=task.normalisation,
        history=tuple(state.history),
    )
    ensemble.write(receipt.weights_file, weights)
    ensemble.write(receipt.predictions_file, predictions)
    # The first gang wins: one that was frozen and woke has the same member, but perhaps for the order of sums.
    ensemble.put_if_absent(receipt_name(fold), receipt.to_json())
    remove_checkpoint(plan, fold)


def _refuse_not_finite(network: MetallicityNet) -> None:
    for name, tensor in network.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise TrainingRefused(f"the weights {name!r} are not finite after training; nothing is kept of this fold")


def _predictions(
    plan: TrainPlan, task: FoldData, rows: NDArray[np.intp], predicted_NVK: NDArray[np.float32], fold: int
) -> pa.Table:
    """Return object_id, fold, and for each label its truth, the mean over all views, and the spread over them."""
    predicted_NVK = predicted_NVK.astype(np.float64)
    columns = {"object_id": task.data.object_id_N[rows], "fold": np.full(len(rows), fold, dtype=np.int32)}
    for k, label in enumerate(plan.labels):
        columns[f"{label}_true"] = task.data.labels_NK[rows, k]
        columns[label] = predicted_NVK[:, :, k].mean(axis=1).astype(np.float32)
        columns[f"{label}_std_views"] = predicted_NVK[:, :, k].std(axis=1).astype(np.float32)
    return pa.table(columns)
