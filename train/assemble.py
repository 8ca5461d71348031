"""Assembly: the trained folds become an ensemble, its tables of held-out galaxies and its card. M members."""

from __future__ import annotations

import dataclasses
import platform
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tomli_w
import torch
from numpy.typing import NDArray

import skymetal
from skymetal.catalogs.parts import decode_parquet, encode_parquet
from skymetal.catalogs.storage import Folder, digest, open_folder
from skymetal.engine.reference import OOD
from skymetal.train.calibration.calibration import MIN_TEST_GALAXIES, Calibration, fit_calibration
from skymetal.train.calibration.intervals import Sample
from skymetal.train.card import CARD, FORMAT, OUT_OF_FOLD, TEST, EnsembleCard, describe_ensemble
from skymetal.train.folds import TEST_FOLD
from skymetal.train.plan import TrainPlan
from skymetal.train.receipt import MemberReceipt, find_receipt

NUM_TEST_PARTS = 5
"""The receipt on the test set is made as that on the folds: a map fitted on four parts judges the fifth."""


def write_ensemble(plan: TrainPlan) -> EnsembleCard:
    """Sum up the trained folds: write the tables of held-out galaxies, then the card; doing it twice is harmless.

    Raises RuntimeError where a fold is not trained or its predictions are damaged.
    """
    folder = open_folder(plan.ensemble)
    found = [find_receipt(folder, fold, plan_digest=plan.digest) for fold in range(plan.num_folds)]
    missing = [fold for fold, receipt in enumerate(found) if receipt is None]
    if missing:
        raise RuntimeError(f"{len(missing)} of {plan.num_folds} folds are not trained, the first is fold {missing[0]}")
    receipts = [receipt for receipt in found if receipt is not None]
    tables = [_read_predictions(folder, receipt) for receipt in receipts]
    out_of_fold = pa.concat_tables([t.filter(pc.not_equal(t["fold"], TEST_FOLD)) for t in tables]).sort_by("object_id")
    test = _mean_over_members([t.filter(pc.equal(t["fold"], TEST_FOLD)) for t in tables], plan.labels)
    folder.write(OUT_OF_FOLD, encode_parquet(out_of_fold.combine_chunks()))
    if test.num_rows:
        folder.write(TEST, encode_parquet(test))
    folder.write(CARD, tomli_w.dumps(_describe(plan, receipts, out_of_fold, test)).encode())
    kept = {file.name for receipt in receipts for file in receipt.files}
    for name in folder.names("fold*-*.*"):
        if name not in kept:  # what a killed task wrote and no receipt names
            folder.remove(name)
    return describe_ensemble(plan.ensemble)


def _mean_over_members(tables: list[pa.Table], labels: tuple[str, ...]) -> pa.Table:
    """Return the test galaxies by object_id, predicted by all members together."""
    ordered = [table.sort_by("object_id") for table in tables]
    columns = {"object_id": ordered[0]["object_id"].combine_chunks()}
    for label in labels:
        values_MN = np.stack([t[label].to_numpy().astype(np.float64) for t in ordered])
        views_MN = np.stack([t[f"{label}_std_views"].to_numpy().astype(np.float64) for t in ordered])
        columns[f"{label}_true"] = ordered[0][f"{label}_true"].combine_chunks()
        columns[label] = pa.array(values_MN.mean(axis=0).astype(np.float32))
        columns[f"{label}_std_views"] = pa.array(np.sqrt((views_MN**2).mean(axis=0)).astype(np.float32))
        columns[f"{label}_std_folds"] = pa.array(values_MN.std(axis=0).astype(np.float32))
    columns[OOD] = pa.array(np.stack([t[OOD].to_numpy() for t in ordered]).mean(axis=0))
    return pa.table(columns)


def _describe(plan: TrainPlan, receipts: list[MemberReceipt], out_of_fold: pa.Table, test: pa.Table) -> dict[str, Any]:
    content = {
        "format": FORMAT,
        "plan_digest": plan.digest,
        "num_folds": plan.num_folds,
        "seed": plan.seed,
        "labels": list(plan.labels),
        "init_digest": plan.init_digest,
        "store_digest": plan.store_digest,
        "targets_digest": plan.targets_digest,
        "recipe": dataclasses.asdict(plan.recipe),
        "image_spec": dataclasses.asdict(plan.image_spec) | {"bands": list(plan.image_spec.bands)},
        "network_input": dataclasses.asdict(plan.network_input),
        "software": {
            "skymetal": skymetal.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "out_of_fold": _named(OUT_OF_FOLD, out_of_fold),
        "calibration": {label: _calibrate(out_of_fold, test, label).to_dict() for label in plan.labels},
        "members": [_entry(receipt) for receipt in receipts],
    }
    content |= {"test": _named(TEST, test)} if test.num_rows else {}
    return {key: _without_none(value) for key, value in content.items()}


def _named(name: str, table: pa.Table) -> dict[str, Any]:
    sha256 = digest(encode_parquet(table.combine_chunks()))
    return {"file": name, "sha256": sha256, "num_galaxies": table.num_rows}


def _without_none(value: Any) -> Any:
    """Return the value as TOML can hold it: what is not given is left out."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list | tuple) else value


def _entry(receipt: MemberReceipt) -> dict[str, Any]:
    return {
        "fold": receipt.fold,
        "weights": dataclasses.asdict(receipt.weights),
        "features": dataclasses.asdict(receipt.features),
        "label_mean": list(receipt.label_mean),
        "label_std": list(receipt.label_std),
        "normalisation": dataclasses.asdict(receipt.normalisation),
    }


def _calibrate(out_of_fold: pa.Table, test: pa.Table, label: str) -> Calibration:
    test_part_N = np.arange(test.num_rows) % NUM_TEST_PARTS
    test_sample = _sample(test, label, test_part_N) if test.num_rows >= MIN_TEST_GALAXIES else None
    return fit_calibration(_sample(out_of_fold, label, out_of_fold["fold"].to_numpy()), test_sample)


def _sample(table: pa.Table, label: str, part_N: NDArray[np.int64]) -> Sample:
    names = (f"{label}_true", label, f"{label}_std_views")
    truth_N, prediction_N, std_views_N = (table[name].to_numpy().astype(np.float64) for name in names)
    return Sample(truth_N=truth_N, prediction_N=prediction_N, std_views_N=std_views_N, part_N=part_N.astype(np.int64))


def _read_predictions(folder: Folder, receipt: MemberReceipt) -> pa.Table:
    data = folder.read(receipt.predictions.name)
    if digest(data) != receipt.predictions.sha256:
        raise RuntimeError(
            f"{folder}/{receipt.predictions.name} is damaged: its digest is not its receipt's; "
            f"delete fold{receipt.fold}.json and train again"
        )
    return decode_parquet(data)
