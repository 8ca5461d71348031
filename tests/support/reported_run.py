"""A run to be reported, made of numbers: target list, published catalogue, cutouts, evaluation, all at any size."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from support.made_catalogue import publish_table

from skymetal.catalogs.catalog import open_catalog
from skymetal.catalogs.healpix import healpix29
from skymetal.catalogs.schema import EMBEDDING_SIZE, catalogue_schema
from skymetal.catalogs.selection.simulated import simulate_survey
from skymetal.catalogs.storage import LocalFolder
from skymetal.catalogs.targets import TargetList, open_targets, write_targets
from skymetal.deploy.report.facts import EnsembleFacts, Quarantine, RunFacts
from skymetal.deploy.report.timing import StepTime
from skymetal.engine.pixels import ImageSpec
from skymetal.engine.shard import StoreLayout
from skymetal.engine.store import CutoutStore, create_store
from skymetal.train.evaluation.evaluate import compare_with_truth, judge_comparison

LABEL = "oh_p50"
TRUTHS = ("oh_p16", "oh_p50", "oh_p84", "oh_true")
NUM_FOLDS = 2
HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"' onload='alert(3)' &lt;\u202e\x00\x1b]--><!--"
)
"""A name that would break out of a page that let it."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """What kind of run. Every seventh galaxy is quarantined, unless there is only one."""

    num_galaxies: int = 600
    has_sky: bool = True
    has_truth: bool = True
    has_photometry: bool = True
    all_out_of_fold: bool = False
    embeddings: bool = False
    part_rows: int = 256
    size_pix: int = 16
    shard_size: int = 256
    seed: int = 5


def make_run(run_dir: Path, made: Made = Made()) -> RunFacts:
    """Write everything into a run directory; return the facts of the run."""
    folder = LocalFolder(run_dir)
    targets = _write_targets(folder, made)
    row_N = np.arange(targets.num_rows)
    row_N = row_N[row_N % 7 != 3] if made.num_galaxies > 1 else row_N
    catalogue = _publish(folder, made, targets.read(0, targets.num_rows).take(pa.array(row_N)))
    judgements = [judge_comparison(c) for c in _comparisons(catalogue, targets)]
    num_quarantined = targets.num_rows - len(row_N)
    return RunFacts(
        catalog=open_catalog(run_dir),
        targets=targets,
        store=_write_store(folder, made, targets),
        ensemble=EnsembleFacts(
            digest="e" * 64,
            num_members=NUM_FOLDS,
            recipe="modern",
            software="torch 2.13",
            is_own=True,
            label_N=np.random.default_rng(1).normal(8.9, 0.2, 500),
        ),
        label=LABEL,
        job_toml=f'[job]\nrun_dir = "/somewhere"\nseed = {made.seed}\n',
        quarantine=Quarantine(
            num_galaxies=num_quarantined,
            reasons={"blank": num_quarantined} if num_quarantined else {},
            first=[(str(row), f"{row}.jpg", "blank: no pixel has any data") for row in range(min(num_quarantined, 5))],
        ),
        comparisons=[judgement.to_json() for judgement in judgements],
        monitor=json.loads(json.dumps(_monitor(len(row_N)))),
        times=[
            StepTime(step="ingest", seconds=12.5, num_galaxies=targets.num_rows, worker_rates=(), went_on=False),
            StepTime(step="score", seconds=100.0, num_galaxies=len(row_N), worker_rates=(31.0, 33.5), went_on=True),
        ],
    )


def hostile(facts: RunFacts, text: str = HOSTILE) -> RunFacts:
    """Return facts in which everything that a user can name is named ``text``."""
    comparisons = [dict(numbers) | {"title": text} for numbers in facts.comparisons]
    quarantine = Quarantine(num_galaxies=1, reasons={text: 1}, first=[(text, text, text)])
    properties = dict.fromkeys(facts.catalog.properties, text)
    monitor = {"num_rows": 5, "drift": [{"name": text, "ks": 0.5, "psi": 0.4, "psi_limit": 0.3}]}
    times = [replace(time, step=text) for time in facts.times]
    assert facts.ensemble is not None
    return replace(
        facts,
        catalog=replace(facts.catalog, name=text, properties=properties),
        ensemble=replace(facts.ensemble, recipe=text, digest=text, software=text),
        job_toml=text,
        quarantine=quarantine,
        comparisons=comparisons,
        monitor=monitor,
        times=times,
    )


def _write_targets(folder: LocalFolder, made: Made) -> TargetList:
    table = simulate_survey(num_galaxies=made.num_galaxies, seed=made.seed)
    if not made.has_sky:
        table = table.drop_columns(["ra", "dec"])
    if not made.has_truth:
        table = table.drop_columns(list(TRUTHS))
    if not made.has_photometry:
        keep = [name for name in table.column_names if name in ("object_id", "ra", "dec", *TRUTHS)]
        table = table.select(keep)
    removed = [{"cut": "0.02 < redshift < 0.2", "num_removed": 17}, {"cut": "is not repeated", "num_removed": 0}]
    selection = {"survey": "sdss", "rows_in": made.num_galaxies + 17, "rows_out": made.num_galaxies, "removed": removed}
    write_targets(folder, "targets.parquet", table, selection=selection)
    return open_targets(folder.path / "targets.parquet")


def _publish(folder: LocalFolder, made: Made, targets: pa.Table) -> pa.Table:
    table = _predict(made, targets)
    publish_table(folder.path, table, rows_a_part=made.part_rows, max_rows=max(made.num_galaxies // 3, 200))
    return table


def _predict(made: Made, targets: pa.Table) -> pa.Table:
    rng, num = np.random.default_rng(made.seed), targets.num_rows
    truth_N = targets["oh_true"].to_numpy() if made.has_truth else rng.normal(8.9, 0.2, num)
    oh_N = 8.9 + 0.7 * (truth_N - 8.9) + rng.normal(0, 0.06, num)
    sigma_N = 0.08 * np.exp(rng.normal(0, 0.2, num))
    columns: dict[str, Any] = {
        name: targets[name] for name in ("object_id", "ra", "dec") if name in targets.column_names
    }
    if made.has_sky:
        columns["_healpix_29"] = healpix29(targets["ra"].to_numpy(), targets["dec"].to_numpy())
    steps = {"oh_p2p5": -2, "oh_p16": -1, "oh_p50": 0, "oh_p84": 1, "oh_p97p5": 2}
    columns |= {name: oh_N + step * sigma_N for name, step in steps.items()}
    columns |= {"oh_unshrunk": 8.9 + (oh_N - 8.9) / 0.7, "oh_std_folds": sigma_N / 3, "oh_std_views": sigma_N / 5}
    columns |= {f"oh_fold{fold}": oh_N for fold in range(NUM_FOLDS)}
    has_label_N = np.isfinite(targets[LABEL].cast(pa.float64()).to_numpy()) if made.has_truth else np.zeros(num, bool)
    ood_N = rng.gamma(4, 0.12, num)
    columns |= {
        "is_out_of_fold": np.ones(num, bool) if made.all_out_of_fold else has_label_N,
        "ood_score": ood_N,
        "flags": np.where(ood_N > 1, 2048, 0) | np.where(rng.random(num) < 0.03, 1 + 512, 0),
    }
    if made.embeddings:
        flat = pa.array(rng.normal(size=num * EMBEDDING_SIZE).astype(np.float16))
        columns["embedding"] = pa.FixedSizeListArray.from_arrays(flat, EMBEDDING_SIZE)
    schema = catalogue_schema(num_folds=NUM_FOLDS, has_sky=made.has_sky, embeddings=made.embeddings).to_arrow()
    arrays = [
        pa.chunked_array(c) if isinstance(c, list) else pa.array(c) if isinstance(c, np.ndarray) else c
        for c in columns.values()
    ]
    return pa.table(dict(zip(columns, arrays, strict=True))).select(schema.names).cast(schema)


def _comparisons(catalogue: pa.Table, targets: TargetList) -> list[Any]:
    columns = ["object_id", "oh_p2p5", "oh_p16", "oh_p50", "oh_p84", "oh_p97p5", "is_out_of_fold"]
    return compare_with_truth(catalogue.select(columns), targets.read(0, targets.num_rows), label=LABEL)


def _write_store(folder: LocalFolder, made: Made, targets: TargetList) -> CutoutStore:
    spec = ImageSpec(survey="sdss", bands=("i", "r", "g"), size_pix=made.size_pix, stretch="asinh", size_rule="petro5")
    layout = StoreLayout(
        image_spec=spec,
        num_targets=targets.num_rows,
        shard_size=made.shard_size,
        chunk_size=64,
        targets_digest=targets.digest,
    )
    store = create_store(folder / "store.zarr", layout)
    for index in range(store.num_blocks):
        ids = targets.read(*layout.rows(index))["object_id"]
        rng = np.random.default_rng(index)
        images = rng.integers(0, 256, (len(ids), *spec.frame)).astype(np.uint8)
        rows = {
            "object_id": ids,
            "is_stored": [True] * len(ids),
            "ingest_flags": [0] * len(ids),
            "pixel_scale_arcsec": pa.nulls(len(ids), pa.float64()),
            "source": ["made"] * len(ids),
            "reason": [""] * len(ids),
        }
        store.write_block(index, images, pa.table(rows))
    store.finish()
    return store


def _monitor(num_rows: int) -> dict[str, Any]:
    names = ("oh_p50", "ood_score", "colour_i_r", "colour_r_g", "concentration", "chroma", "roughness")
    drift = [{"name": n, "ks": 0.05 + 0.01 * k, "psi": 0.03 + 0.06 * k, "psi_limit": 0.28} for k, n in enumerate(names)]
    return {"num_rows": num_rows, "accuracy": None, "drift": drift}
