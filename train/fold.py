"""One fold, whole: its member trained, the galaxies it never saw predicted, both committed. N galaxies, V views."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from skymetal.catalogs.parts import encode_parquet
from skymetal.catalogs.storage import open_folder
from skymetal.engine.appearance import appearance_names, measure_appearance
from skymetal.engine.reference import OOD
from skymetal.train.calibration.intervals import HELD_OUT_VIEWS
from skymetal.train.data import read_training_set
from skymetal.train.features import FeatureSpace, fit_feature_space
from skymetal.train.fit import FoldData, Watch, make_member, predict_rows, split, train_member
from skymetal.train.folds import TEST_FOLD
from skymetal.train.member import MemberPredictions
from skymetal.train.network.network import MetallicityNet
from skymetal.train.plan import TrainPlan
from skymetal.train.ranks.gang import Gang
from skymetal.train.receipt import MemberFile, MemberReceipt, find_receipt, receipt_name
from skymetal.train.refused import TrainingRefused
from skymetal.train.state import remove_checkpoint

MAX_FEATURE_ROWS = 20_000
_PIECE = 1024


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
    parts = [
        (rows, number, predict_rows(member, task, rows, num_views=HELD_OUT_VIEWS, gang=gang, beat=watch.beat))
        for rows, number in ((task.held_out_rows, fold), (task.data.test_rows, TEST_FOLD))
    ]
    learnt = predict_rows(member, task, _some(task.train_rows), num_views=1, gang=gang, beat=watch.beat)
    if gang.rank != 0:
        return
    space = fit_feature_space(learnt.features_NF, parts[0][2].features_NF)
    tables = [_predictions(plan, task, rows, predicted, space, number) for rows, number, predicted in parts]
    contents = {
        "weights": save({name: tensor.cpu().contiguous() for name, tensor in state.network.state_dict().items()}),
        "features": space.to_bytes(),
        "predictions": encode_parquet(pa.concat_tables(tables).combine_chunks()),
    }
    files = {kind: MemberFile.of(fold, kind, data) for kind, data in contents.items()}
    receipt = MemberReceipt(
        plan_digest=plan.digest,
        fold=fold,
        weights=files["weights"],
        features=files["features"],
        predictions=files["predictions"],
        label_mean=tuple(task.label_mean_K.tolist()),
        label_std=tuple(task.label_std_K.tolist()),
        normalisation=task.normalisation,
        history=tuple(state.history),
    )
    for kind, data in contents.items():
        ensemble.write(files[kind].name, data)
    # The first gang wins: one that was frozen and woke has the same member, but perhaps for the order of sums.
    ensemble.put_if_absent(receipt_name(fold), receipt.to_json())
    remove_checkpoint(plan, fold)


def _some(rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return rows enough to know where the training galaxies lie, evenly spaced."""
    return rows[:: -(-len(rows) // MAX_FEATURE_ROWS) or 1]


def _refuse_not_finite(network: MetallicityNet) -> None:
    for name, tensor in network.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise TrainingRefused(f"the weights {name!r} are not finite after training; nothing is kept of this fold")


def _predictions(
    plan: TrainPlan,
    task: FoldData,
    rows: NDArray[np.intp],
    predicted: MemberPredictions,
    space: FeatureSpace,
    fold: int,
) -> pa.Table:
    """Return object_id, fold, for each label its truth and the mean and spread over views, ood_score, appearance."""
    labels_NVK = predicted.labels_NVK.astype(np.float64)
    columns = {"object_id": task.data.object_id_N[rows], "fold": np.full(len(rows), fold, dtype=np.int32)}
    for k, label in enumerate(plan.labels):
        columns[f"{label}_true"] = task.data.labels_NK[rows, k]
        columns[label] = labels_NVK[:, :, k].mean(axis=1).astype(np.float32)
        columns[f"{label}_std_views"] = labels_NVK[:, :, k].std(axis=1).astype(np.float32)
    columns[OOD] = space.distance(predicted.features_NF)
    pieces = [rows[first : first + _PIECE] for first in range(0, len(rows), _PIECE)]
    measured = [measure_appearance(task.data.images_NHWC[piece]) for piece in pieces]
    names = appearance_names(plan.image_spec.bands)
    appearance_NC = np.concatenate(measured or [np.empty((0, len(names)), np.float32)])
    columns |= dict(zip(names, appearance_NC.T, strict=True))
    return pa.table(columns)
