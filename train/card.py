"""``ensemble.toml``: the card that names and describes an ensemble, and the tables of held-out galaxies beside it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
import pyarrow as pa

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.parts import decode_parquet
from skymetal.catalogs.storage import Folder, Location, digest, open_folder
from skymetal.engine.appearance import appearance_names
from skymetal.engine.pixels import ImageSpec, Normalisation
from skymetal.engine.predict import Predictor
from skymetal.engine.reference import OH, OOD, Reference, make_reference
from skymetal.train.calibration.calibration import Calibration
from skymetal.train.calibration.intervals import HELD_OUT_VIEWS
from skymetal.train.network.inputs import NetworkInput
from skymetal.train.receipt import MemberFile
from skymetal.train.recipe import Recipe

CARD = "ensemble.toml"
OUT_OF_FOLD = "out_of_fold.parquet"
TEST = "test.parquet"
FORMAT = 5


@dataclass(frozen=True, kw_only=True)
class MemberEntry:
    """What the card says of one member."""

    weights: MemberFile
    features: MemberFile
    label_mean: tuple[float, ...]
    label_std: tuple[float, ...]
    normalisation: Normalisation


@dataclass(frozen=True, kw_only=True)
class EnsembleCard:
    """An ensemble described, without its weights. digest, the SHA-256 of ``ensemble.toml``, names all of it."""

    path: str
    digest: str
    plan_digest: str
    recipe: Recipe
    seed: int
    labels: tuple[str, ...]
    image_spec: ImageSpec
    network_input: NetworkInput
    members: tuple[MemberEntry, ...]
    out_of_fold_sha256: str
    test_sha256: str
    calibrations: dict[str, Calibration]
    software: dict[str, str]

    @property
    def num_members(self) -> int:
        """How many members, one a fold."""
        return len(self.members)

    @property
    def calibration(self) -> Calibration:
        """That of the first label, the one that a catalogue holds."""
        return self.calibrations[self.labels[0]]

    def read_out_of_fold(self) -> pa.Table:
        """Return the galaxies that one member was kept from, by object_id, predicted by that member.

        Columns: object_id, fold, for each label L the truth ``L_true``, the mean over views ``L``, and the spread
        over them ``L_std_views``; ood_score, and the image's colours and concentration. Raises RuntimeError where the
        file is not the one the card names.
        """
        return self._read(OUT_OF_FOLD, self.out_of_fold_sha256)

    def read_test(self) -> pa.Table | None:
        """Return the galaxies that every member was kept from, predicted by all; None where there are none.

        Columns: object_id, and for each label ``L_true``, the mean over members and views ``L``, and the spreads
        ``L_std_views``, root mean square over members, and ``L_std_folds``.
        """
        return self._read(TEST, self.test_sha256) if self.test_sha256 else None

    @cached_property
    def reference(self) -> Reference:
        """What its own galaxies are like, each measured by the member that was kept from it."""
        table = self.read_out_of_fold()
        label, names = self.labels[0], (OOD, *appearance_names(self.image_spec.bands))
        prediction_N, std_views_N = (table[n].to_numpy().astype(np.float64) for n in (label, f"{label}_std_views"))
        is_own_N = np.ones(table.num_rows, dtype=bool)
        calibrated = self.calibration.apply(prediction_N, std_views_N, is_own_N, num_views=HELD_OUT_VIEWS)
        columns = {OH: calibrated["oh_p50"]} | {name: table[name].to_numpy() for name in names}
        difference_N = columns[OH] - table[f"{label}_true"].to_numpy()
        return make_reference(columns, rmse=float(np.sqrt(np.mean(difference_N**2))))

    def _read(self, name: str, sha256: str) -> pa.Table:
        data = open_folder(self.path).read(name)
        if digest(data) != sha256:
            raise damaged_file(self.path, name)
        return decode_parquet(data)


def describe_ensemble(location: Location) -> EnsembleCard:
    """Read the card of an ensemble folder; raise InputError where there is none that can be used."""
    folder = open_folder(location)
    try:
        data = folder.read(CARD)
    except FileNotFoundError:
        raise InputError(f"there is no ensemble in {folder}: {CARD} is missing; run `skymetal train` first") from None
    try:
        content = tomllib.loads(data.decode())
        card = _read_card(folder, digest(data), content) if content.get("format") == FORMAT else None
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{folder}/{CARD} cannot be used ({error}); put the original back, or, in a run directory of your own, "
            "delete it and run `skymetal train` again"
        ) from error
    if card is None:
        raise InputError(
            f"{folder}/{CARD} is of another version of skymetal (format {content.get('format')!r}, this one reads "
            f"{FORMAT}): name another [job] run_dir and train again, or use the version that made it"
        )
    return card


def ensemble_is_whole(location: Location) -> bool:
    """Tell whether an ensemble's card and every file it names are there. Raises as describe_ensemble for a bad card."""
    folder = open_folder(location)
    if not folder.exists(CARD):
        return False
    card = describe_ensemble(folder)
    names = [
        OUT_OF_FOLD,
        *([TEST] if card.test_sha256 else []),
        *(file.name for entry in card.members for file in (entry.weights, entry.features)),
    ]
    return all(folder.find_size(name) is not None for name in names)


def damaged_file(folder: object, name: str, *delete_too: str) -> RuntimeError:
    """Return the error for a file of an ensemble that is not what the card says, with the way out of it."""
    names = " and ".join((name, *delete_too))
    return RuntimeError(
        f"{folder}/{name} is damaged: its digest is not that in {CARD}; put the original back, or, in a run "
        f"directory of your own, delete {names} and run `skymetal train` again"
    )


def _read_card(folder: Folder, card_digest: str, content: dict[str, Any]) -> EnsembleCard:
    spec = content["image_spec"]
    return EnsembleCard(
        path=str(folder),
        digest=card_digest,
        plan_digest=content["plan_digest"],
        recipe=Recipe.from_dict(content["recipe"]),
        seed=content["seed"],
        labels=tuple(content["labels"]),
        image_spec=ImageSpec(**spec | {"bands": tuple(spec["bands"])}),
        network_input=NetworkInput(**content["network_input"]),
        members=tuple(_read_entry(entry) for entry in content["members"]),
        out_of_fold_sha256=content["out_of_fold"]["sha256"],
        test_sha256=content["test"]["sha256"] if "test" in content else "",
        calibrations={label: Calibration.from_dict(content["calibration"][label]) for label in content["labels"]},
        software={name: str(version) for name, version in content["software"].items()},
    )


def _read_entry(entry: dict[str, Any]) -> MemberEntry:
    return MemberEntry(
        weights=MemberFile(**entry["weights"]),
        features=MemberFile(**entry["features"]),
        label_mean=tuple(entry["label_mean"]),
        label_std=tuple(entry["label_std"]),
        normalisation=Normalisation.from_dict(entry["normalisation"]),
    )


def load_described(path: str, **settings: Any) -> Predictor:
    """Load an ensemble by :func:`train.ensemble.load_ensemble`; whoever only names it here does not wait for torch."""
    predictor: Predictor = import_module("skymetal.train.ensemble").load_ensemble(path, **settings)
    return predictor
