"""The training loop of one fold. N images of a batch, K labels.

Everything random is a function of (seed, fold, epoch), and a checkpoint follows every epoch: a fold that was
killed and resumed ends with the same bytes as one that was left in peace.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch.nn import functional

from skymetal.catalogs.parts import encode_parquet
from skymetal.catalogs.storage import commit_receipt, digest, open_folder
from skymetal.catalogs.targets import open_targets
from skymetal.engine.pixels import IMAGENET, Normalisation
from skymetal.engine.predict import NUM_VIEWS
from skymetal.engine.store import open_store
from skymetal.train.augment import augment
from skymetal.train.data import TrainingSet, measure_normalisation, read_training_set
from skymetal.train.folds import stream_seed
from skymetal.train.member import (
    Member,
    MemberReceipt,
    choose_device,
    find_receipt,
    fold_batch_norm,
    normalise,
    predict_views,
    receipt_name,
)
from skymetal.train.network import MetallicityNet
from skymetal.train.plan import TrainPlan
from skymetal.train.recipe import RANDOM_INIT, Recipe, learning_rate
from skymetal.train.state import (
    TrainState,
    remove_checkpoint,
    restore_checkpoint,
    start_training,
    training_format,
    write_checkpoint,
)

PREDICT_BATCH_SIZE = 64


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """One epoch of one fold, counted from 1. The errors are of the first label, in its unit (dex)."""

    fold: int
    epoch: int
    num_epochs: int
    train_rmse: float
    held_out_rmse: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class FoldData:
    """One fold's task: what to learn from, what to be judged by, and the scales that the former sets."""

    data: TrainingSet
    train_rows: NDArray[np.intp]
    held_out_rows: NDArray[np.intp]
    normalisation: Normalisation
    label_mean_K: NDArray[np.float32]
    label_std_K: NDArray[np.float32]


def fit_fold(plan: TrainPlan, fold: int, report: Callable[[EpochReport], None]) -> None:
    """Train the member of ``fold``, predict the galaxies it never saw, and commit both; done before, do nothing."""
    ensemble = open_folder(plan.ensemble)
    if find_receipt(ensemble, fold, plan_digest=plan.digest):
        return
    store, targets = open_store(plan.store), open_targets(plan.targets)
    data = read_training_set(store, targets, plan.labels, num_folds=plan.num_folds, seed=plan.seed)
    task = split(data, fold, own_pixels=plan.init == RANDOM_INIT)
    state = train_member(plan, fold, task, report)

    for name, tensor in state.network.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise RuntimeError(f"the weights {name!r} are not finite after training; nothing is kept of this fold")
    weights = save({name: tensor.cpu().contiguous() for name, tensor in state.network.state_dict().items()})
    predictions = encode_parquet(_predict_held_out(plan, fold, task, state.network))
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
    commit_receipt(ensemble, receipt_name(fold), receipt.to_json())
    remove_checkpoint(plan, fold)


def split(data: TrainingSet, fold: int, *, own_pixels: bool) -> FoldData:
    """Return the fold's task. No scale is taken from a galaxy that the member will be judged by."""
    train_rows, held_out_rows = data.part(fold)
    labels_NK = data.labels_NK[train_rows].astype(np.float64)
    return FoldData(
        data=data,
        train_rows=train_rows,
        held_out_rows=held_out_rows,
        normalisation=measure_normalisation(data.images_NHWC[train_rows]) if own_pixels else IMAGENET,
        label_mean_K=labels_NK.mean(axis=0).astype(np.float32),
        label_std_K=labels_NK.std(axis=0).astype(np.float32),
    )


def train_member(plan: TrainPlan, fold: int, task: FoldData, report: Callable[[EpochReport], None]) -> TrainState:
    """Train from the last checkpoint, or from the start, to the last epoch."""
    device, num_epochs = choose_device(), plan.recipe.num_epochs
    state = start_training(plan, fold, device)
    restore_checkpoint(plan, fold, state)
    # cuDNN's fastest kernels add in no fixed order; the deterministic ones keep a resumed fold exact.
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        for epoch in range(len(state.history) + 1, num_epochs + 1):
            begun = time.perf_counter()
            seed = stream_seed(plan.seed, fold, epoch)
            torch.manual_seed(seed)  # dropout
            train_rmse = _train_epoch(plan.recipe, state, task, torch.Generator().manual_seed(seed))
            held_out_rmse = _held_out_rmse(state.network, task)
            state.history.append((train_rmse, held_out_rmse))
            report(
                EpochReport(
                    fold=fold,
                    epoch=epoch,
                    num_epochs=num_epochs,
                    train_rmse=train_rmse,
                    held_out_rmse=held_out_rmse,
                    seconds=time.perf_counter() - begun,
                )
            )
            if epoch < num_epochs:
                write_checkpoint(plan, fold, state)
    return state


def _train_epoch(recipe: Recipe, state: TrainState, task: FoldData, generator: torch.Generator) -> float:
    device = next(state.network.parameters()).device
    num_train = len(task.train_rows)
    # Nearly equal batches, so that none is too small for batch norm and no galaxy is left out.
    num_batches = -(-num_train // recipe.batch_size)
    num_steps = recipe.num_epochs * num_batches
    step = len(state.history) * num_batches
    squares = torch.zeros((), dtype=torch.float64, device=device)  # read once an epoch: reading waits for the GPU
    state.network.train()
    for chosen in torch.randperm(num_train, generator=generator).tensor_split(num_batches):
        rows = task.train_rows[chosen.numpy()]
        images_NHWC = torch.from_numpy(task.data.images_NHWC[rows]).to(device)
        images_NCHW = augment(normalise(images_NHWC, task.normalisation), recipe, generator)
        images_NCHW = images_NCHW.contiguous(memory_format=training_format(device))
        truth_NK = torch.from_numpy((task.data.labels_NK[rows] - task.label_mean_K) / task.label_std_K).to(device)

        for group in state.optimiser.param_groups:
            group["lr"] = learning_rate(recipe, step, num_steps)
        predicted_NK = state.network(images_NCHW)
        loss = functional.huber_loss(predicted_NK, truth_NK)
        state.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        state.optimiser.step()

        step += 1
        squares += (predicted_NK - truth_NK).detach()[:, 0].double().square().sum()
    return float(np.sqrt(squares.item() / num_train) * task.label_std_K[0])


def _member(network: MetallicityNet, task: FoldData) -> Member:
    return Member(
        network=fold_batch_norm(network),
        normalisation=task.normalisation,
        label_mean=tuple(task.label_mean_K.tolist()),
        label_std=tuple(task.label_std_K.tolist()),
    )


def _held_out(network: MetallicityNet, task: FoldData, *, num_views: int) -> NDArray[np.float32]:
    device = next(network.parameters()).device
    images_NHWC = torch.from_numpy(task.data.images_NHWC[task.held_out_rows]).to(device)
    member = _member(network, task)
    predicted_NVK = predict_views(member, images_NHWC, num_views=num_views, batch_size=PREDICT_BATCH_SIZE)
    return np.asarray(predicted_NVK.mean(axis=1))


def _held_out_rmse(network: MetallicityNet, task: FoldData) -> float:
    difference = _held_out(network, task, num_views=1)[:, 0] - task.data.labels_NK[task.held_out_rows, 0]
    return float(np.sqrt(np.mean(difference.astype(np.float64) ** 2)))


def _predict_held_out(plan: TrainPlan, fold: int, task: FoldData, network: MetallicityNet) -> pa.Table:
    """Return object_id, fold, and for each label the truth and the mean prediction over all views."""
    predicted_NK = _held_out(network, task, num_views=max(NUM_VIEWS))
    rows = task.held_out_rows
    columns = {"object_id": task.data.object_id_N[rows], "fold": np.full(len(rows), fold, dtype=np.int32)}
    for k, label in enumerate(plan.labels):
        columns[f"{label}_true"] = task.data.labels_NK[rows, k]
        columns[label] = predicted_NK[:, k]
    return pa.table(columns)
