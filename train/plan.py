"""What one training is to do, settled and checked before any work: the plan, small enough to travel in a task."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import Location, digest
from skymetal.catalogs.targets import TargetList, open_targets
from skymetal.engine.appearance import appearance_names
from skymetal.engine.pixels import ImageSpec
from skymetal.engine.reference import OOD
from skymetal.engine.store import open_store
from skymetal.train.folds import TEST_FOLD, assign_folds, sky_groups
from skymetal.train.labels import Labels, read_labels
from skymetal.train.network.init import find_init, is_torchvision, load_init
from skymetal.train.network.inputs import NetworkInput
from skymetal.train.network.network import MIN_SIZE_PIX, MetallicityNet
from skymetal.train.recipe import SCALED, Recipe
from skymetal.train.settings import RANDOM_INIT, TrainSettings

METHOD = 2
"""Raise it when the same plan would give other members: half-trained ensembles must not be continued."""
IMAGENET_CACHE = Path("~/.cache/skymetal")
_NOT_INPUTS = ("store", "targets", "ensemble", "checkpoints", "init", "ranks_per_fold")


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """One training of num_folds members. Make it with :func:`make_plan`; check it; then train.

    targets and init are files (init, which may be ``random``, on a disk); store, ensemble and checkpoints are folders
    that every worker sees: paths or URLs. Members are the same, but for rounding, whatever ranks_per_fold.
    """

    store: str
    targets: str
    ensemble: str
    checkpoints: str
    recipe: Recipe
    num_folds: int
    labels: tuple[str, ...]
    seed: int
    test_fraction: float
    split: str
    sky_order: int
    ranks_per_fold: int
    network_input: NetworkInput
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
        values = {name: value for name, value in dataclasses.asdict(self).items() if name not in _NOT_INPUTS}
        return values | {"method": METHOD}

    def to_json(self) -> str:
        """Return the plan as text, for a process of its own."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TrainPlan:
        """Return the plan of that text."""
        values = json.loads(text)
        values["labels"] = tuple(values["labels"])
        values["recipe"] = Recipe.from_dict(values["recipe"])
        values["network_input"] = NetworkInput(**values["network_input"])
        values["image_spec"] = ImageSpec(**values["image_spec"] | {"bands": tuple(values["image_spec"]["bands"])})
        return cls(**values)

    def read_labels(self) -> Labels:
        """Read the galaxies of the training sample: those with all labels and an image."""
        return read_labels(open_targets(self.targets), self.labels, is_stored_N=open_store(self.store).read_is_stored())

    def assign_folds(self, labels: Labels) -> NDArray[np.int64]:
        """Return the fold of each galaxy of the training sample; TEST_FOLD for those kept from every member."""
        return _assign_folds(labels, self, seed=self.seed)

    def max_ranks(self) -> int:
        """Return how many ranks can share each mini-batch of every fold, two images or more each."""
        fold_N = self.assign_folds(self.read_labels())
        num_train = min(int(np.count_nonzero((fold_N != f) & (fold_N != TEST_FOLD))) for f in range(self.num_folds))
        smallest_batch = num_train // -(-num_train // self.recipe.batch_size)
        return max(1, smallest_batch // 2)

    def check(self) -> None:
        """Raise InputError where this plan cannot succeed; reads labels but no images.

        Looks for: a store of other targets, images too small, labels that are missing or constant, folds too
        small, and an init file of another network.
        """
        targets, store = open_targets(self.targets), open_store(self.store)
        if store.layout.targets_digest != targets.digest:
            raise InputError(f"the store {self.store} was made for other targets than {self.targets}; ingest again")
        check_trainable(self.image_spec)
        self.network_input.check(self.image_spec)
        taken = {OOD, *appearance_names(self.image_spec.bands)} & set(self.labels)
        if taken:
            raise InputError(
                f"[train] labels has {min(taken)!r}, which is the name of a column that training makes; give yours "
                f"another name: [targets] columns = {{my_{min(taken)} = {min(taken)!r}}}"
            )
        labels = self.read_labels()
        fold_N = self.assign_folds(labels)
        for fold in range(self.num_folds):
            rows = (fold_N != fold) & (fold_N != TEST_FOLD)
            if (np.ptp(labels.labels_NK[rows], axis=0) == 0).any():
                raise InputError(
                    f"[train] all galaxies outside fold {fold} have the same label: its member could learn nothing; "
                    "give galaxies with more different labels"
                )
        _check_init(self.init, self.labels, self.image_spec)


def check_start(settings: TrainSettings, *, targets: TargetList, spec: ImageSpec, seed: int) -> None:
    """Raise InputError, before there are images, where a training on them would be refused."""
    check_trainable(spec)
    _network_input(settings).check(spec)
    _check_init(find_init(settings.init, cache=IMAGENET_CACHE.expanduser())[0], settings.labels, spec)
    _assign_folds(read_labels(targets, settings.labels), settings, seed=seed)


def _assign_folds(labels: Labels, how: TrainSettings | TrainPlan, *, seed: int) -> NDArray[np.int64]:
    group_id_N = labels.group_id_N
    if how.split == "sky":
        if labels.healpix_29_N is None:
            raise InputError("[train] split = 'sky' needs positions, but the target list has no ra and dec")
        group_id_N = sky_groups(group_id_N, labels.healpix_29_N, order=how.sky_order)
    return assign_folds(group_id_N, num_folds=how.num_folds, seed=seed, test_fraction=how.test_fraction)


def _check_init(init: str, labels: tuple[str, ...], spec: ImageSpec) -> None:
    if init != RANDOM_INIT:
        load_init(MetallicityNet(num_labels=len(labels), num_bands=len(spec.bands)), init)


def _network_input(settings: TrainSettings) -> NetworkInput:
    return NetworkInput(band=settings.band, resolution_pix=settings.resolution_pix)


def _settle(recipe: Recipe, init: str) -> Recipe:
    """Return the recipe as it will be followed with these first weights."""
    return dataclasses.replace(recipe, pixels=SCALED) if is_torchvision(init) else recipe


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
    settings: TrainSettings,
    *,
    store: Location,
    targets: str | Path,
    ensemble: Location,
    checkpoints: Location,
    seed: int,
) -> TrainPlan:
    """Settle a plan from the job's ``[train]`` section and its files; raise InputError where one is missing."""
    cutouts = open_store(store)
    init, init_digest = find_init(settings.init, cache=IMAGENET_CACHE.expanduser())
    return TrainPlan(
        store=str(store),
        targets=str(targets),
        ensemble=str(ensemble),
        checkpoints=str(checkpoints),
        recipe=_settle(settings.resolve(), init),
        num_folds=settings.num_folds,
        labels=settings.labels,
        seed=seed,
        test_fraction=settings.test_fraction,
        split=settings.split,
        sky_order=settings.sky_order,
        ranks_per_fold=settings.ranks_per_fold,
        network_input=_network_input(settings),
        init=init,
        init_digest=init_digest,
        store_digest=cutouts.digest,
        targets_digest=open_targets(targets).digest,
        image_spec=cutouts.image_spec,
    )
