"""The steps of a job, in order. Each one resumes what was begun, and does nothing where all is done.

    select → ingest → train → score → publish → evaluate
"""

from __future__ import annotations

import io
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

import skymetal
from skymetal.catalogs.catalog import open_catalog
from skymetal.catalogs.errors import InputError
from skymetal.catalogs.inputs import claim_inputs
from skymetal.catalogs.parts import read_manifest
from skymetal.catalogs.publish import PublishReceipt
from skymetal.catalogs.publish import publish as publish_parts
from skymetal.catalogs.schema import catalogue_schema
from skymetal.catalogs.select import select as select_targets
from skymetal.catalogs.tables import missing_column
from skymetal.catalogs.targets import TargetList, open_targets
from skymetal.deploy import run_directory as names
from skymetal.deploy.cluster import LazyCluster
from skymetal.deploy.config import Job
from skymetal.deploy.console import say, track
from skymetal.deploy.run_directory import RunDirectory
from skymetal.engine.ingest import ingest as ingest_targets
from skymetal.engine.ingest import make_ingest_plan, quarantined
from skymetal.engine.predict import PredictorRef
from skymetal.engine.score import ScorePlan, finish_score
from skymetal.engine.score import score as score_store
from skymetal.engine.store import STORE, CutoutStore, open_store
from skymetal.train.card import CARD, describe_ensemble, write_ensemble
from skymetal.train.ensemble import load_ensemble
from skymetal.train.evaluate import compare, compare_with_truth, format_comparisons
from skymetal.train.figures import draw_evaluation
from skymetal.train.plan import TrainPlan, make_plan
from skymetal.train.run import train_folds


@dataclass(frozen=True, kw_only=True)
class Run:
    """A job in its run directory, with the cluster it may start."""

    job: Job
    directory: RunDirectory
    cluster: LazyCluster

    @property
    def path(self) -> Path:
        """The run directory's path."""
        return self.directory.folder.path

    @property
    def targets(self) -> TargetList:
        """The target list; InputError where select has not run."""
        return open_targets(self.path / names.TARGETS)

    @property
    def store(self) -> CutoutStore:
        """The finished cutout store; InputError where ingest has not ended."""
        return open_store(self.path / STORE)

    @property
    def ensemble(self) -> Path:
        """The folder of the ensemble that scores: the job's, or the one this run trains."""
        return Path(self.job.score.ensemble) if self.job.score.ensemble else self.path / names.ENSEMBLE


def select(run: Run) -> None:
    """Survey tables to target list."""
    select_targets(run.job.targets, seed=run.job.job.seed, folder=run.directory.folder, name=names.TARGETS)
    selection = run.targets.selection
    say(f"select: {selection['rows_in']} rows in = {selection['rows_out']} targets + {_removed(selection)}")
    if not run.targets.has_sky:
        say(
            "select: the table has no ra and dec: galaxies are kept in object_id order, "
            "and the catalogue will be plain Parquet, not HATS: no cone search, no crossmatch"
        )


def ingest(run: Run) -> None:
    """Images to cutout store."""
    plan = make_ingest_plan(
        run.job.images, targets=run.targets, folder=run.directory.folder / STORE, seed=run.job.job.seed
    )
    plan.check()
    inputs = asdict(run.job.images) | {"targets": plan.targets.digest, "seed": run.job.job.seed}
    claim_inputs(run.directory.folder, "ingest", inputs)
    if not plan.store.is_finished:
        receipts = ingest_targets(plan, run.cluster.client())
        missing = plan.missing_blocks()
        total = sum(stop - start for start, stop in map(plan.store.layout.rows, missing))
        for _ in track(
            receipts, title="ingest", total=total, unit="galaxies", amount=lambda r: r.num_stored + r.num_quarantined
        ):
            pass
    rejects = quarantined(run.store)
    buffer = io.BytesIO()
    pyarrow.csv.write_csv(rejects, buffer)
    run.directory.folder.write(names.QUARANTINE, buffer.getvalue())
    reasons = Counter(reason.split(":")[0] for reason in rejects["reason"].to_pylist())
    why = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    say(
        f"ingest: {run.store.num_targets} targets = {run.store.num_targets - len(rejects)} stored "
        f"+ {len(rejects)} quarantined{f' ({why}; see {names.QUARANTINE})' if why else ''}"
    )


def train(run: Run) -> None:
    """Five folds to an ensemble, its out-of-fold table and its calibration."""
    if run.job.score.ensemble:
        say(f"train: nothing to do, [score] ensemble is {run.job.score.ensemble}")
        return
    plan = make_plan(
        run.job.train,
        store=run.path / STORE,
        targets=run.path / names.TARGETS,
        ensemble=run.ensemble,
        checkpoints=run.path / names.CHECKPOINTS,
        seed=run.job.job.seed,
    )
    plan.check()
    claim_inputs(run.directory.folder, "train", plan.inputs())
    if not (run.ensemble / CARD).exists():
        _train_folds(run, plan)
        write_ensemble(plan)
    say(f"train: {plan.num_folds} members in {run.ensemble}")


def _train_folds(run: Run, plan: TrainPlan) -> None:
    reports = train_folds(plan, run.cluster.client())
    total = plan.num_folds * plan.recipe.num_epochs
    for report in track(reports, title="train", total=total, unit="epochs", amount=lambda _: 1):
        run.directory.record("train", "epoch", **asdict(report))
        if report.epoch + 1 == report.num_epochs:
            say(f"train: fold {report.fold} done, RMSE on its held-out galaxies {report.held_out_rmse:.4f} dex")


def make_score_plan(run: Run) -> ScorePlan:
    """Settle what score would do; refuse an ensemble, store or setting other than those it began with."""
    card = describe_ensemble(run.ensemble)
    settings = run.job.score
    predictor = PredictorRef(
        load=load_ensemble,
        path=str(run.ensemble),
        digest=card.digest,
        image_spec=card.image_spec,
        num_views=settings.views,
        batch_size=settings.batch_size,
    )
    inputs = {
        "ensemble": predictor.digest,
        "store": run.store.digest,
        "views": settings.views,
        "batch_size": settings.batch_size,
        "skymetal": skymetal.__version__,
    }
    return ScorePlan(
        store=run.store,
        targets=run.targets,
        parts=run.directory.folder / names.PARTS,
        predictor=predictor,
        run_digest=claim_inputs(run.directory.folder, "score", inputs),
    )


def score(run: Run) -> None:
    """Cutout store to parts: one distributed pass."""
    plan = make_score_plan(run)
    plan.check()
    missing = plan.missing_blocks()
    if missing:
        total = sum(stop - start for start, stop in map(plan.store.layout.rows, missing))
        receipts = score_store(plan, run.cluster.client())
        for _ in track(
            receipts, title="score", total=total, unit="galaxies", amount=lambda r: r.num_rows + r.num_quarantined
        ):
            pass
    manifest = finish_score(plan)
    say(
        f"score: {run.store.num_targets} rows in = {manifest.num_rows} scored "
        f"+ {manifest.num_quarantined} quarantined, in {len(manifest.receipts)} parts"
    )


def publish(run: Run) -> None:
    """Parts to catalogue."""
    parts = run.directory.folder / names.PARTS
    try:
        manifest = read_manifest(parts)
    except FileNotFoundError:
        raise InputError(f"there are no finished parts in {parts}; run `skymetal score` first") from None
    card = describe_ensemble(run.ensemble)
    progress = publish_parts(
        parts=parts,
        manifest=manifest,
        schema=catalogue_schema(num_folds=card.num_members, has_sky=run.targets.has_sky).to_arrow(),
        run_dir=run.directory.folder,
        settings=run.job.catalog,
        provenance={
            "version": skymetal.__version__,
            "run": manifest.run_digest,
            "ensemble": card.digest,
            "store": run.store.digest,
        },
    )
    receipt = None
    for item in progress:
        receipt = item if isinstance(item, PublishReceipt) else receipt
    kind = "HATS" if receipt.is_hats else "plain Parquet"
    say(f"publish: {receipt.num_rows} rows in {receipt.num_partitions} partitions ({kind}) at {receipt.path}")


def evaluate(run: Run) -> None:
    """Catalogue against the labels it was trained on (out of fold) and, in a simulation, against the truth."""
    catalogue = open_catalog(run.path).to_arrow(["object_id", "oh_p50", "is_out_of_fold"])
    targets = run.targets
    comparisons = compare_with_truth(catalogue, targets.read(0, targets.num_rows), label=run.job.train.labels[0])
    if not comparisons:
        say("evaluate: the target list has no measured metallicity to compare with")
        return
    say(format_comparisons(comparisons))
    folder = run.directory.folder
    for comparison in comparisons:
        figure = draw_evaluation(comparison.truth_N, comparison.prediction_N, title=comparison.title)
        folder.write(f"{names.FIGURES}/{comparison.name}.png", figure)
    numbers = [comparison.to_json() for comparison in comparisons]
    folder.write(names.EVALUATION, json.dumps(numbers, sort_keys=True, indent=1).encode())
    say(f"evaluate: numbers in {run.path / names.EVALUATION}, figures in {run.path / names.FIGURES}")


def evaluate_table(table: pa.Table, *, truth: str, prediction: str, name: str) -> str:
    """Return the field's numbers for two columns of any table, as lines of text."""
    for column in (truth, prediction):
        if column not in table.column_names:
            raise missing_column(f"table {name}", column, table.column_names)
    return format_comparisons([compare("table", f"{name}: {prediction} against {truth}", table[truth], table[prediction])])


def run_step(run: Run, name: str) -> None:
    """Run one step by its name, recording when it began and ended."""
    run.directory.record(name, "began")
    start = time.monotonic()
    STEPS[name](run)
    run.directory.record(name, "ended", seconds=round(time.monotonic() - start, 3))


STEPS: dict[str, Callable[[Run], None]] = {
    "select": select,
    "ingest": ingest,
    "train": train,
    "score": score,
    "publish": publish,
    "evaluate": evaluate,
}


def _removed(selection: dict[str, Any]) -> str:
    cuts = [cut for cut in selection["removed"] if cut["num_removed"]]
    total = sum(cut["num_removed"] for cut in cuts)
    why = ", ".join(f"{cut['num_removed']} by '{cut['cut']}'" for cut in cuts)
    return f"{total} removed{f' ({why})' if why else ''}"

