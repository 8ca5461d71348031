"""``ensemble.toml``: the card that names and describes an ensemble, and the out-of-fold table beside it."""

from __future__ import annotations

import dataclasses
import platform
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tomli_w
import torch

import skymetal
from skymetal.catalogs.errors import InputError
from skymetal.catalogs.parts import decode_parquet, encode_parquet
from skymetal.catalogs.schema import PERCENTILES
from skymetal.catalogs.storage import Folder, digest, open_folder
from skymetal.engine.pixels import ImageSpec, Normalisation
from skymetal.train.member import MemberReceipt, find_receipt
from skymetal.train.plan import TrainPlan

CARD = "ensemble.toml"
OUT_OF_FOLD = "out_of_fold.parquet"
_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class MemberEntry:
    """What the card says of one member."""

    file: str
    sha256: str
    label_mean: tuple[float, ...]
    label_std: tuple[float, ...]
    normalisation: Normalisation


@dataclass(frozen=True, kw_only=True)
class EnsembleCard:
    """An ensemble described, without its weights. digest, the SHA-256 of ``ensemble.toml``, names all of it."""

    path: Path
    digest: str
    plan_digest: str
    recipe: str
    seed: int
    labels: tuple[str, ...]
    image_spec: ImageSpec
    members: tuple[MemberEntry, ...]
    out_of_fold_sha256: str
    quantiles: dict[str, dict[float, float]]

    @property
    def num_members(self) -> int:
        """How many members, one a fold."""
        return len(self.members)

    @property
    def residual_quantiles(self) -> dict[float, float]:
        """Quantile level → truth minus prediction of the first label over the out-of-fold galaxies, dex."""
        return self.quantiles[self.labels[0]]

    def read_out_of_fold(self) -> pa.Table:
        """Return object_id, fold, and for each label L its truth ``L_true`` and prediction ``L``, by object_id.

        Raises RuntimeError where the file is not the one the card names.
        """
        data = (self.path / OUT_OF_FOLD).read_bytes()
        if digest(data) != self.out_of_fold_sha256:
            raise damaged_file(self.path / OUT_OF_FOLD)
        return decode_parquet(data)


def write_ensemble(plan: TrainPlan) -> EnsembleCard:
    """Sum up the trained folds: write the out-of-fold table, then the card; doing it twice is harmless.

    Raises RuntimeError where a fold is not trained or its predictions are damaged.
    """
    folder = open_folder(plan.ensemble)
    found = [find_receipt(folder, fold, plan_digest=plan.digest) for fold in range(plan.num_folds)]
    missing = [fold for fold, receipt in enumerate(found) if receipt is None]
    if missing:
        raise RuntimeError(f"{len(missing)} of {plan.num_folds} folds are not trained, the first is fold {missing[0]}")
    receipts = [receipt for receipt in found if receipt is not None]
    table = pa.concat_tables([_read_predictions(folder, receipt) for receipt in receipts]).sort_by("object_id")
    data = encode_parquet(table.combine_chunks())
    folder.write(OUT_OF_FOLD, data)
    folder.write(CARD, tomli_w.dumps(_describe(plan, receipts, table, digest(data))).encode())
    kept = {receipt.weights_file for receipt in receipts} | {receipt.predictions_file for receipt in receipts}
    for name in folder.names("fold*-*.*"):
        if name not in kept:  # what a killed task wrote and no receipt names
            folder.remove(name)
    return describe_ensemble(plan.ensemble)


def describe_ensemble(path: str | Path) -> EnsembleCard:
    """Read the card of an ensemble folder; raise InputError where there is none that can be used."""
    folder = open_folder(path)
    try:
        data = folder.read(CARD)
    except FileNotFoundError:
        raise InputError(f"there is no ensemble in {path}: {CARD} is missing; run `skymetal train` first") from None
    try:
        content = tomllib.loads(data.decode())
        if content.get("format") != _FORMAT:
            raise ValueError(f"its format is {content.get('format')!r}, this version reads {_FORMAT}")
        return _read_card(folder, digest(data), content)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{folder}/{CARD} cannot be used ({error}); put the original back, or, in a run directory of your own, "
            "delete it and run `skymetal train` again"
        ) from error


def ensemble_is_whole(path: Path) -> bool:
    """Tell whether an ensemble's card and every file it names are there. Raises as describe_ensemble for a bad card."""
    if not (path / CARD).exists():
        return False
    names = [OUT_OF_FOLD, *(entry.file for entry in describe_ensemble(path).members)]
    return all((path / name).is_file() for name in names)


def damaged_file(path: Path, *delete_too: str) -> RuntimeError:
    """Return the error for a file of an ensemble that is not what the card says, with the way out of it."""
    names = " and ".join((path.name, *delete_too))
    return RuntimeError(
        f"{path} is damaged: its digest is not that in {CARD}; put the original back, or, in a run directory of your "
        f"own, delete {names} and run `skymetal train` again"
    )


def _read_card(folder: Folder, card_digest: str, content: dict[str, Any]) -> EnsembleCard:
    spec = content["image_spec"]
    return EnsembleCard(
        path=folder.path,
        digest=card_digest,
        plan_digest=content["plan_digest"],
        recipe=content["recipe"]["name"],
        seed=content["seed"],
        labels=tuple(content["labels"]),
        image_spec=ImageSpec(**spec | {"bands": tuple(spec["bands"])}),
        members=tuple(_read_entry(entry) for entry in content["members"]),
        out_of_fold_sha256=content["out_of_fold"]["sha256"],
        quantiles={
            label: {float(level): value for level, value in levels.items()}
            for label, levels in content["residual_quantiles"].items()
        },
    )


def _describe(plan: TrainPlan, receipts: list[MemberReceipt], table: pa.Table, table_digest: str) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "plan_digest": plan.digest,
        "num_folds": plan.num_folds,
        "seed": plan.seed,
        "labels": list(plan.labels),
        "init_digest": plan.init_digest,
        "store_digest": plan.store_digest,
        "targets_digest": plan.targets_digest,
        "recipe": dataclasses.asdict(plan.recipe),
        "image_spec": dataclasses.asdict(plan.image_spec) | {"bands": list(plan.image_spec.bands)},
        "software": {
            "skymetal": skymetal.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "out_of_fold": {"file": OUT_OF_FOLD, "sha256": table_digest, "num_galaxies": table.num_rows},
        "residual_quantiles": {label: _residual_quantiles(table, label) for label in plan.labels},
        "members": [_entry(receipt) for receipt in receipts],
    }


def _entry(receipt: MemberReceipt) -> dict[str, Any]:
    return {
        "fold": receipt.fold,
        "file": receipt.weights_file,
        "sha256": receipt.weights_digest,
        "label_mean": list(receipt.label_mean),
        "label_std": list(receipt.label_std),
        "normalisation": {"mean": list(receipt.normalisation.mean), "std": list(receipt.normalisation.std)},
    }


def _read_entry(entry: dict[str, Any]) -> MemberEntry:
    pixels = entry["normalisation"]
    return MemberEntry(
        file=entry["file"],
        sha256=entry["sha256"],
        label_mean=tuple(entry["label_mean"]),
        label_std=tuple(entry["label_std"]),
        normalisation=Normalisation(mean=tuple(pixels["mean"]), std=tuple(pixels["std"])),
    )


def _residual_quantiles(table: pa.Table, label: str) -> dict[str, float]:
    residual = pc.subtract(table[f"{label}_true"], table[label]).to_numpy().astype(np.float64)
    return {repr(level): float(np.quantile(residual, level)) for level in PERCENTILES.values()}


def _read_predictions(folder: Folder, receipt: MemberReceipt) -> pa.Table:
    data = folder.read(receipt.predictions_file)
    if digest(data) != receipt.predictions_digest:
        raise RuntimeError(
            f"{folder}/{receipt.predictions_file} is damaged: its digest is not its receipt's; "
            f"delete fold{receipt.fold}.json and train again"
        )
    return decode_parquet(data)
