"""What a member learns from: the stored cutouts of galaxies whose labels are all known. N galaxies, K labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.storage import open_folder
from skymetal.engine.store import open_store
from skymetal.train.folds import TEST_FOLD
from skymetal.train.plan import TrainPlan
from skymetal.train.refused import TrainingRefused


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Galaxies with pixels and labels, in store order. images_NHWC is uint8, labels_NK in the labels' units.

    The pixels are a memory map of a file that all ranks of a machine share.
    """

    object_id_N: NDArray[np.int64]
    images_NHWC: NDArray[np.uint8]
    labels_NK: NDArray[np.float32]
    fold_N: NDArray[np.int64]

    def part(self, fold: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the rows that the member of ``fold`` learns from, and those it is judged by."""
        return np.flatnonzero((self.fold_N != fold) & (self.fold_N != TEST_FOLD)), np.flatnonzero(self.fold_N == fold)

    @property
    def test_rows(self) -> NDArray[np.intp]:
        """The rows that no member learns from."""
        return np.flatnonzero(self.fold_N == TEST_FOLD)


def pixels_name(plan: TrainPlan) -> str:
    """Return the file beside the checkpoints that holds the training set's pixels, by :func:`gather_pixels`."""
    return f"pixels-{plan.digest[:12]}.npy"


def gather_pixels(plan: TrainPlan) -> None:
    """Decode every galaxy that has labels into one flat file, which can be read at random; done before, do nothing.

    Random cutouts cost a decoded chunk each in the store, and a copy in each rank in memory. Raises TrainingRefused for
    a damaged shard, or where the disk is full.
    """
    folder, name = open_folder(plan.checkpoints), pixels_name(plan)
    if folder.exists(name):
        return
    store, labelled = open_store(plan.store), plan.read_labels()
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(labelled.row_N), *plan.image_spec.frame)}
    try:
        with folder.open_new(name) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for index in range(store.num_blocks):
                block = store.read_block(index)
                first, last = np.searchsorted(labelled.row_N, [block.start, block.stop])
                within = labelled.row_N[first:last] - block.start
                if not np.array_equal(block.object_id[within], labelled.object_id_N[first:last]):
                    raise TrainingRefused(
                        f"block {index} of {store.folder} has other galaxies than {plan.targets}; ingest again"
                    )
                file.write(np.ascontiguousarray(block.images[within]).data)
    except OSError as error:
        num_bytes = len(labelled.row_N) * plan.image_spec.cutout_bytes
        raise TrainingRefused(
            f"{folder}/{name} needs {num_bytes / 1e9:.1f} GB for the training pixels and cannot be written "
            f"({error.strerror})"
        ) from error


def read_training_set(plan: TrainPlan) -> TrainingSet:
    """Return the training set, its pixels mapped, not read. :func:`gather_pixels` must have run."""
    labelled = plan.read_labels()
    folder, name = open_folder(plan.checkpoints), pixels_name(plan)
    images_NHWC = np.load(folder.local_copy(name), mmap_mode="r")
    if images_NHWC.shape != (len(labelled.row_N), *plan.image_spec.frame):
        raise TrainingRefused(f"{folder}/{name} is of another training set; delete it and train again")
    return TrainingSet(
        object_id_N=labelled.object_id_N,
        images_NHWC=images_NHWC,
        labels_NK=labelled.labels_NK,
        fold_N=plan.assign_folds(labelled),
    )
