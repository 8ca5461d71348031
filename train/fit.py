"""The training loop of one fold. N images of a batch, K labels.

Everything random is a function of (seed, fold, epoch), and a checkpoint follows the epochs: a fold that was
killed and resumed ends with the same bytes as one that was left in peace.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skymetal.engine.pixels import IMAGENET, Normalisation
from skymetal.train.batches import Pixels
from skymetal.train.data import TrainingSet
from skymetal.train.folds import stream_seed
from skymetal.train.member import Member, MemberPredictions, fold_batch_norm, predict_views
from skymetal.train.network.augment import augment, draw
from skymetal.train.network.dropout import draw_dropout
from skymetal.train.network.init import is_torchvision
from skymetal.train.network.network import NUM_FEATURES
from skymetal.train.network.show import select_levels, show
from skymetal.train.normalisation import measure_normalisation
from skymetal.train.plan import TrainPlan
from skymetal.train.ranks.gang import Gang, synced_batch_norm
from skymetal.train.runtimes.runtime import choose_device
from skymetal.train.runtimes.torch_runtime import TorchRuntime
from skymetal.train.schedule import step_settings
from skymetal.train.state import (
    TrainState,
    apply_settings,
    restore_checkpoint,
    start_training,
    training_format,
    write_checkpoint,
)
from skymetal.train.step import Stepper, own_stream

PREDICT_BATCH_SIZE = 64
MEASURED_AT_ONCE = 1 << 26
"""Bytes of images whose grey levels are counted together; counting takes several times as much memory."""
CHECKPOINT_SECONDS = 30.0
"""A checkpoint holds three times the weights (255 MB): short epochs share one."""


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
    pixels: Pixels
    train_rows: NDArray[np.intp]
    held_out_rows: NDArray[np.intp]
    normalisation: Normalisation
    label_mean_K: NDArray[np.float32]
    label_std_K: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Who is told how training goes: report of each epoch, beat of each step."""

    report: Callable[[EpochReport], None] = lambda report: None
    beat: Callable[[], None] = lambda: None


def split(plan: TrainPlan, fold: int, data: TrainingSet, beat: Callable[[], None] = lambda: None) -> FoldData:
    """Return the fold's task. No scale is taken from a galaxy that the member will be judged by."""
    train_rows, held_out_rows = data.part(fold)
    labels_NK = data.labels_NK[train_rows].astype(np.float64)
    # The paper's loss is in the labels' own unit: its learning rates mean nothing on another scale.
    is_scaled = plan.recipe.loss != "rmse"
    mean_K = labels_NK.mean(axis=0) if is_scaled else np.zeros(labels_NK.shape[1])
    std_K = labels_NK.std(axis=0) if is_scaled else np.ones(labels_NK.shape[1])
    pixels = Pixels(data.images_NHWC, choose_device())
    return FoldData(
        data=data,
        pixels=pixels,
        train_rows=train_rows,
        held_out_rows=held_out_rows,
        normalisation=IMAGENET if is_torchvision(plan.init) else _measure(plan, pixels, train_rows, beat),
        label_mean_K=mean_K.astype(np.float32),
        label_std_K=std_K.astype(np.float32),
    )


def _measure(plan: TrainPlan, pixels: Pixels, rows: NDArray[np.intp], beat: Callable[[], None]) -> Normalisation:
    """Return the normalisation of what the network is shown of some rows."""

    def pieces() -> Iterator[Tensor]:
        number = max(1, MEASURED_AT_ONCE // plan.image_spec.cutout_bytes)
        for first in range(0, len(rows), number):
            yield select_levels(plan.network_input, pixels.take(rows[first : first + number]), plan.image_spec)
            beat()

    return measure_normalisation(pieces(), pixels=plan.recipe.pixels)


def train_member(plan: TrainPlan, fold: int, task: FoldData, watch: Watch, gang: Gang) -> TrainState:
    """Train from the last checkpoint, or from the start, to the last epoch. All ranks of the gang end alike."""
    device, num_epochs = choose_device(), plan.recipe.num_epochs
    state = start_training(plan, fold, device)
    restore_checkpoint(plan, fold, state)
    begins = torch.tensor([float(len(state.history))], device=device)
    if gang.sum(begins).item() != gang.size * len(state.history):
        raise RuntimeError("the ranks of the gang found different checkpoints; another gang is at work on this fold")
    written, steppers = time.monotonic(), dict[str, Stepper]()
    # cuDNN's fastest kernels add in no fixed order; the deterministic ones keep a resumed fold exact.
    deterministic = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=True)
    with deterministic, own_stream(device):
        for epoch in range(len(state.history) + 1, num_epochs + 1):
            begun = time.perf_counter()
            generator = torch.Generator().manual_seed(stream_seed(plan.seed, fold, epoch))
            with synced_batch_norm(state.network, gang):
                train_rmse = _train_epoch(plan, state, task, generator, steppers, watch, gang)
            held_out_rmse = _held_out_rmse(plan, state, task, watch, gang)
            state.history.append((train_rmse, held_out_rmse))
            if gang.rank == 0:
                watch.report(
                    EpochReport(
                        fold=fold,
                        epoch=epoch,
                        num_epochs=num_epochs,
                        train_rmse=train_rmse,
                        held_out_rmse=held_out_rmse,
                        seconds=time.perf_counter() - begun,
                    )
                )
                is_due = epoch == 1 or time.monotonic() - written > CHECKPOINT_SECONDS
                if is_due and epoch < num_epochs:
                    write_checkpoint(plan, fold, state)
                    written = time.monotonic()
    return state


def _train_epoch(
    plan: TrainPlan,
    state: TrainState,
    task: FoldData,
    generator: torch.Generator,
    steppers: dict[str, Stepper],
    watch: Watch,
    gang: Gang,
) -> float:
    """Go once through the galaxies; steppers keeps the one in use, by the part of the network that it trains."""
    device, recipe, num_train = choose_device(), plan.recipe, len(task.train_rows)
    # Nearly equal batches, so that none is too small for batch norm and no galaxy is left out.
    num_batches = -(-num_train // recipe.batch_size)
    chosen = torch.randperm(num_train, generator=generator).tensor_split(num_batches)
    batches = [task.train_rows[rows.numpy()] for rows in chosen]
    mine = [rows[gang.rows(len(rows))] for rows in batches]
    step = len(state.history) * num_batches
    squares = torch.zeros((), dtype=torch.float64, device=device)
    for all_rows, rows, images_NHWC in zip(batches, mine, task.pixels.take_in_turn(mine), strict=True):
        settings = step_settings(recipe, step, steps_per_epoch=num_batches)
        apply_settings(state, settings)
        if step == len(state.history) * num_batches or settings.starts_phase:
            state.network.train_part(settings.trains)
        if settings.trains not in steppers:
            steppers.clear()
            steppers[settings.trains] = Stepper(network=state.network, loss=recipe.loss, gang=gang)
        images_NCHW = show(plan.network_input, images_NHWC, task.normalisation, plan.image_spec)
        drawn = draw(len(all_rows), recipe.augmentation, generator).part(gang.rows(len(all_rows)))
        images_NCHW = augment(images_NCHW, drawn, task.normalisation)
        images_NCHW = images_NCHW.contiguous(memory_format=training_format(device))
        truth_NK = torch.from_numpy((task.data.labels_NK[rows] - task.label_mean_K) / task.label_std_K).to(device)

        draw_dropout(state.network, len(all_rows), gang.rows(len(all_rows)), generator, device)
        predicted_NK = steppers[settings.trains].gradients(images_NCHW, truth_NK, num_images=len(all_rows))
        state.optimiser.step()

        step += 1
        squares += (predicted_NK - truth_NK)[:, 0].double().square().sum()
        watch.beat()
    return float(np.sqrt(gang.sum(squares).item() / num_train) * task.label_std_K[0])


def make_member(plan: TrainPlan, state: TrainState, task: FoldData) -> Member:
    """Return the member as it is now, ready to predict."""
    return Member(
        runtime=TorchRuntime(fold_batch_norm(state.network)),
        normalisation=task.normalisation,
        label_mean=tuple(task.label_mean_K.tolist()),
        label_std=tuple(task.label_std_K.tolist()),
        network_input=plan.network_input,
        image_spec=plan.image_spec,
        augmentation=plan.recipe.augmentation,
    )


def predict_rows(
    member: Member, task: FoldData, rows: NDArray[np.intp], *, num_views: int, gang: Gang, beat: Callable[[], None]
) -> MemberPredictions:
    """Return the predictions for some rows, shared out over the ranks: a galaxy's are the same on any."""
    mine = gang.rows(len(rows))
    labels_NVK = np.zeros((len(rows), num_views, len(member.label_mean)), dtype=np.float32)
    features_NF = np.zeros((len(rows), NUM_FEATURES), dtype=np.float32)
    for first in range(mine.start, mine.stop, PREDICT_BATCH_SIZE):
        part = slice(first, min(first + PREDICT_BATCH_SIZE, mine.stop))
        images_NHWC = task.pixels.take(rows[part])
        predicted = predict_views(member, images_NHWC, num_views=num_views, batch_size=PREDICT_BATCH_SIZE)
        labels_NVK[part], features_NF[part] = predicted.labels_NVK, predicted.features_NF
        beat()

    def gather(values: NDArray[np.float32]) -> NDArray[np.float32]:
        summed: Tensor = gang.sum(torch.from_numpy(values).to(choose_device()))
        return np.asarray(summed.cpu().numpy())

    return MemberPredictions(labels_NVK=gather(labels_NVK), features_NF=gather(features_NF))


def _held_out_rmse(plan: TrainPlan, state: TrainState, task: FoldData, watch: Watch, gang: Gang) -> float:
    member, rows = make_member(plan, state, task), task.held_out_rows
    predicted = predict_rows(member, task, rows, num_views=1, gang=gang, beat=watch.beat)
    difference_N = predicted.labels_NVK[:, 0, 0] - task.data.labels_NK[rows, 0]
    return float(np.sqrt(np.mean(difference_N.astype(np.float64) ** 2)))
