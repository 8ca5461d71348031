"""What one training is to do, settled and checked before any work: the plan, small enough to travel in a task."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import digest, file_digest
from skymetal.catalogs.targets import open_targets
from skymetal.engine.pixels import ImageSpec
from skymetal.engine.store import open_store
from skymetal.train.data import read_labels
from skymetal.train.folds import assign_folds
from skymetal.train.network import MIN_SIZE_PIX, MetallicityNet, load_trunk
from skymetal.train.recipe import RANDOM_INIT, Recipe, TrainSettings

METHOD = 1
"""Raise it when the same plan would give other members: half-trained ensembles must not be continued."""


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """One training of num_folds members. Make it with :func:`make_plan`; check it; then train.

    targets and init are files; store, ensemble and checkpoints are folders that every worker sees.
    """

    store: Path
    targets: Path
    ensemble: Path
    checkpoints: Path
    recipe: Recipe
    num_folds: int
    labels: tuple[str, ...]
    seed: int
    init: str
    init_digest: str
    store_digest: str
    targets_digest: str
    image_spec: ImageSpec

    @property
    def digest(self) -> str:
        """Names what is to be learnt from what, wherever the files are: same digest, same members."""
        return digest(json.dumps(self.inputs(), sort_keys=True).encode())

    def inputs(self) -> dict[str, object]:
        """Return all that decides the members, as plain values, without the paths."""
        paths = ("store", "targets", "ensemble", "checkpoints", "init")
        values = {name: value for name, value in dataclasses.asdict(self).items() if name not in paths}
        return values | {"method": METHOD}

    def check(self) -> None:
        """Raise InputError where this plan cannot succeed; reads labels but no images.

        Looks for: a store of other targets, images too small, labels that are missing or constant, folds too
        small, and an init file of another network.
        """
        targets, store = open_targets(self.targets), open_store(self.store)
        if store.layout.targets_digest != targets.digest:
            raise InputError(f"the store {self.store} was made for other targets than {self.targets}; ingest again")
        check_trainable(self.image_spec)
        labelled = read_labels(targets, self.labels, is_stored_N=store.read_is_stored())
        fold_N = assign_folds(labelled.group_id_N, num_folds=self.num_folds, seed=self.seed)
        for fold in range(self.num_folds):
            if (np.ptp(labelled.labels_NK[fold_N != fold], axis=0) == 0).any():
                raise InputError(
                    f"[train] all galaxies outside fold {fold} have the same label: its member could learn nothing; "
                    "give galaxies with more different labels"
                )
        if self.init != RANDOM_INIT:
            load_trunk(MetallicityNet(num_labels=1, num_bands=len(self.image_spec.bands)), self.init)


def check_trainable(spec: ImageSpec) -> None:
    """Raise InputError where no network of ours can learn from such cutouts."""
    if spec.dtype != "uint8":
        raise InputError(
            f"[images] dtype = {spec.dtype!r} can be ingested but not yet trained on or scored; "
            "ingest with dtype = 'uint8': stretch = 'lupton' makes pictures of the same flux"
        )
    if spec.size_pix < MIN_SIZE_PIX:
        raise InputError(f"[images] size_pix must be at least {MIN_SIZE_PIX} to train, got {spec.size_pix}")


def make_plan(
    settings: TrainSettings, *, store: Path, targets: Path, ensemble: Path, checkpoints: Path, seed: int
) -> TrainPlan:
    """Settle a plan from the job's ``[train]`` section and its files; raise InputError where one is missing."""
    cutouts = open_store(store)
    if settings.init != RANDOM_INIT and not Path(settings.init).is_file():
        raise InputError(f"[train] init = {settings.init!r} is no file: give a torchvision resnet34 file, or 'random'")
    return TrainPlan(
        store=store,
        targets=targets,
        ensemble=ensemble,
        checkpoints=checkpoints,
        recipe=settings.resolve(),
        num_folds=settings.num_folds,
        labels=settings.labels,
        seed=seed,
        init=settings.init,
        init_digest=RANDOM_INIT if settings.init == RANDOM_INIT else file_digest(Path(settings.init)),
        store_digest=cutouts.digest,
        targets_digest=open_targets(targets).digest,
        image_spec=cutouts.image_spec,
    )
