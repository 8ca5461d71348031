"""What a member learns from: the stored cutouts of galaxies whose labels are all known. N galaxies, K labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError, missing_column
from skymetal.catalogs.targets import TargetList
from skymetal.engine.pixels import Normalisation
from skymetal.engine.store import CutoutStore
from skymetal.train.folds import assign_folds

MIN_GALAXIES = 8
OH_RANGE = (6.0, 11.0)
"""No galaxy's 12+log(O/H) is outside: a number that is comes from a sentinel or another column."""


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """The rows of a target list whose labels are all finite.

    group_id_N is what decides a galaxy's fold: galaxies within 2″ share one, since their cutouts show the same light.
    """

    row_N: NDArray[np.int64]
    object_id_N: NDArray[np.int64]
    group_id_N: NDArray[np.int64]
    labels_NK: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Galaxies with pixels and labels, in store order. images_NHWC is uint8, labels_NK in the labels' units."""

    object_id_N: NDArray[np.int64]
    images_NHWC: NDArray[np.uint8]
    labels_NK: NDArray[np.float32]
    fold_N: NDArray[np.int64]

    def part(self, fold: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the rows that the member of ``fold`` learns from, and those it is judged by."""
        return np.flatnonzero(self.fold_N != fold), np.flatnonzero(self.fold_N == fold)


def read_labels(
    targets: TargetList, labels: tuple[str, ...], *, is_stored_N: NDArray[np.bool_] | None = None
) -> LabelledRows:
    """Read the galaxies whose labels are all finite, of those stored where ``is_stored_N`` says which are.

    Raises InputError for a label that is no column, no number, the same for all or no metallicity, and for too few
    galaxies.
    """
    for name in labels:
        if name not in targets.column_names:
            raise missing_column(f"[train] labels: {targets.path}", name, targets.column_names)
    group = "group_id" if "group_id" in targets.column_names else "object_id"  # without positions no pair is known
    columns = list(dict.fromkeys(["object_id", group, *labels]))
    table = pa.concat_tables(targets.iter_tables(columns))
    labels_NK = np.stack([_as_float(table[name], name) for name in labels], axis=1)
    usable_N = np.isfinite(labels_NK).all(axis=1)
    if is_stored_N is not None:
        usable_N &= is_stored_N
    row_N = np.flatnonzero(usable_N)
    if len(row_N) < MIN_GALAXIES:
        raise InputError(
            f"[train] labels: only {len(row_N)} of {targets.num_rows} galaxies have {' and '.join(labels)}"
            f"{'' if is_stored_N is None else ' and an image'}; training needs at least {MIN_GALAXIES}"
        )
    labels_NK, object_id_N = labels_NK[row_N], table["object_id"].to_numpy()[row_N]
    group_id_N = table[group].to_numpy()[row_N]
    for name, column_N in zip(labels, labels_NK.T, strict=True):
        if np.ptp(column_N) == 0:
            raise InputError(f"[train] labels: {name} is {column_N[0]:g} for every galaxy: nothing can be learnt")
        odd = np.flatnonzero((column_N < OH_RANGE[0]) | (column_N > OH_RANGE[1]))
        if name.startswith("oh_") and len(odd):
            raise InputError(
                f"[train] labels: {name} is {column_N[odd[0]]:g} for object_id {object_id_N[odd[0]]}, outside "
                f"{OH_RANGE[0]:g} to {OH_RANGE[1]:g}, so it is no 12+log(O/H); cut such rows or leave the field empty"
            )
    return LabelledRows(row_N=row_N, object_id_N=object_id_N, group_id_N=group_id_N, labels_NK=labels_NK)


def read_training_set(
    store: CutoutStore, targets: TargetList, labels: tuple[str, ...], *, num_folds: int, seed: int
) -> TrainingSet:
    """Read every stored galaxy with labels into memory, block by block.

    Raises RuntimeError for a damaged shard, InputError where labels or galaxies do not suffice.
    """
    labelled = read_labels(targets, labels, is_stored_N=store.read_is_stored())
    frame = (store.image_spec.size_pix, store.image_spec.size_pix, len(store.image_spec.bands))
    images_NHWC = np.empty((len(labelled.row_N), *frame), dtype=np.uint8)
    for index in range(store.num_blocks):
        block = store.read_block(index)
        first, last = np.searchsorted(labelled.row_N, [block.start, block.stop])
        within = labelled.row_N[first:last] - block.start
        if not np.array_equal(block.object_id[within], labelled.object_id_N[first:last]):
            raise RuntimeError(f"block {index} of {store.folder} has other galaxies than {targets.path}; ingest again")
        images_NHWC[first:last] = block.images[within]
    return TrainingSet(
        object_id_N=labelled.object_id_N,
        images_NHWC=images_NHWC,
        labels_NK=labelled.labels_NK,
        fold_N=assign_folds(labelled.group_id_N, num_folds=num_folds, seed=seed),
    )


def measure_normalisation(images_NHWC: NDArray[np.uint8]) -> Normalisation:
    """Return the mean and standard deviation a band of the pixels, scaled to 0 … 1; exact, so reproducible."""
    level = np.arange(256) / 255.0
    mean, std = [], []
    for band in range(images_NHWC.shape[-1]):
        weight = np.bincount(images_NHWC[..., band].ravel(), minlength=256) / images_NHWC[..., band].size
        centre = float(weight @ level)
        mean.append(centre)
        # A band that is constant has nothing to scale by; one grey level keeps it finite.
        std.append(max(float(np.sqrt(weight @ (level - centre) ** 2)), 1 / 255))
    return Normalisation(mean=tuple(mean), std=tuple(std))


def _as_float(column: pa.ChunkedArray, name: str) -> NDArray[np.float32]:
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise InputError(f"[train] labels: column {name!r} is of type {column.type}, not a number")
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float32)
