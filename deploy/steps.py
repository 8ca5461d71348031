"""The steps of a job, in order. Each one resumes what was begun, and does nothing where all is done.

select → ingest → train → score → publish → evaluate → report
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import skymetal
from skymetal.catalogs.errors import InputError
from skymetal.catalogs.inputs import claim_inputs
from skymetal.catalogs.parts import read_manifest
from skymetal.catalogs.publishing.publish import PublishReceipt
from skymetal.catalogs.publishing.publish import publish as publish_parts
from skymetal.catalogs.schema import catalogue_schema
from skymetal.catalogs.selection.select import num_tables
from skymetal.catalogs.selection.select import select as select_targets
from skymetal.deploy import run_directory as names
from skymetal.deploy.console import say
from skymetal.deploy.evaluation.of_job import evaluate
from skymetal.deploy.quarantine import write_quarantine
from skymetal.deploy.report.report import report as write_report
from skymetal.deploy.run import Run
from skymetal.deploy.scoring import make_score_plan, score
from skymetal.engine.ingest import IngestPlan, make_ingest_plan
from skymetal.engine.ingest import ingest as ingest_targets
from skymetal.engine.store import STORE, create_store
from skymetal.engine.summary import count_galaxies
from skymetal.train.assemble import write_ensemble
from skymetal.train.card import describe_ensemble, ensemble_is_whole
from skymetal.train.fit import EpochReport
from skymetal.train.plan import TrainPlan, check_start, make_plan
from skymetal.train.ranks.run import train_folds
from skymetal.train.transfer import check_transfer


def select(run: Run) -> None:
    """Survey tables to target list."""
    settings = run.job.targets
    receipts = select_targets(settings, seed=run.job.job.seed, folder=run.directory.folder, name=names.TARGETS)
    total = num_tables(settings, folder=run.directory.folder, name=names.TARGETS)
    for _ in run.directory.track(receipts, title="select", total=total, unit="tables", amount=lambda _: 1):
        pass
    selection = run.targets.selection
    say(f"select: {selection['rows_in']} rows in = {selection['rows_out']} targets + {_removed(selection)}")
    if selection.get("num_grouped"):
        say(f"select: {selection['num_grouped']} targets lie within 2″ of another; no fold will separate them")
    if not run.targets.has_sky:
        say(
            "select: the table has no ra and dec: galaxies are kept in object_id order, "
            "and the catalogue will be plain Parquet, not HATS: no cone search, no crossmatch"
        )


def claim_ingest(run: Run) -> IngestPlan:
    """Settle what ingest would do; refuse a source that cannot serve, or another than it began with."""
    plan = make_ingest_plan(run.job.images, targets=run.targets, run_dir=run.directory.folder, seed=run.job.job.seed)
    plan.check()
    inputs = asdict(run.job.images) | {"targets": plan.targets.digest, "seed": run.job.job.seed}
    has_results = len(plan.missing_blocks()) < plan.store.num_blocks
    claim_inputs(run.directory.folder, "ingest", inputs, has_results=has_results)
    return plan


def ingest(run: Run) -> None:
    """Images to cutout store."""
    plan = claim_ingest(run)
    create_store(plan.store.folder, plan.store.layout)
    missing = plan.missing_blocks()
    if missing or not plan.store.is_finished:
        receipts = ingest_targets(plan, run.client())
        total = sum(stop - start for start, stop in map(plan.store.layout.rows, missing))
        for _ in run.directory.track(
            receipts, title="ingest", total=total, unit="galaxies", amount=lambda r: r.num_stored + r.num_quarantined
        ):
            pass
    write_quarantine(run)
    counts = count_galaxies(run.store)
    run.directory.record("ingest", "counted", **asdict(counts))
    why = counts.describe_reasons()
    say(
        f"ingest: {counts.num_targets} targets = {counts.num_stored} stored + {counts.num_quarantined} quarantined"
        f"{f' ({why}; see {names.QUARANTINE})' if why else ''}"
    )
    if counts.flags:
        say(f"ingest: of those stored, {counts.describe_flags()}")
    if counts.num_stored == 0:
        raise InputError(
            f"no target has a usable image ({why}); mend [images] and delete {run.folder}/{STORE}, or name another "
            f"[job] run_dir: {run.folder}/{names.QUARANTINE} has the reason for each"
        )


def train(run: Run) -> None:
    """Five folds to an ensemble, its out-of-fold table and its calibration."""
    if run.job.score.ensemble:
        say(f"train: nothing to do, [score] ensemble is {run.job.score.ensemble}")
        return
    plan = make_plan(
        run.job.train,
        store=run.folder / STORE,
        targets=f"{run.folder}/{names.TARGETS}",
        ensemble=run.ensemble,
        checkpoints=run.folder / names.CHECKPOINTS,
        seed=run.job.job.seed,
    )
    plan.check()
    check_transfer(plan)
    claim_inputs(run.directory.folder, "train", plan.inputs())
    if not ensemble_is_whole(run.ensemble):
        _train_folds(run, plan)
        write_ensemble(plan)
    say(f"train: {plan.num_folds} members in {run.ensemble}")


def _train_folds(run: Run, plan: TrainPlan) -> None:
    reports = train_folds(plan, run.client())
    total = plan.num_folds * plan.recipe.num_epochs
    errors: dict[int, float] = {}

    def note(report: EpochReport) -> str:
        errors[report.fold] = report.held_out_rmse
        return "held-out RMSE " + ", ".join(f"{fold}: {errors[fold]:.3f}" for fold in sorted(errors))

    for report in run.directory.track(
        reports, title="train", total=total, unit="epochs", amount=lambda _: 1, note=note
    ):
        run.directory.record("train", "epoch", **asdict(report))
        if report.epoch == report.num_epochs:
            say(f"train: fold {report.fold} done, RMSE on its held-out galaxies {report.held_out_rmse:.4f} dex")


def publish(run: Run) -> None:
    """Parts to catalogue."""
    parts = run.directory.folder / names.PARTS
    try:
        manifest = read_manifest(parts)
    except FileNotFoundError:
        raise InputError(f"there are no finished parts in {parts}; run `skymetal score` first") from None
    plan = make_score_plan(run)
    if manifest.run_digest != plan.run_digest:
        raise InputError(f"the parts in {parts} were scored with another model, store or setting; score them again")
    card = describe_ensemble(run.ensemble)
    progress = publish_parts(
        parts=parts,
        manifest=manifest,
        schema=catalogue_schema(
            num_folds=card.num_members, has_sky=run.targets.has_sky, embeddings=run.job.score.embeddings
        ).to_arrow(),
        run_dir=run.directory.folder,
        settings=run.job.catalog,
        provenance={
            "version": skymetal.__version__,
            "run": manifest.run_digest,
            "ensemble": card.digest,
            "store": run.store.digest,
        },
    )
    for item in run.directory.track(
        progress, title="publish", total=len(manifest.receipts), unit="parts", amount=lambda _: 1
    ):
        if isinstance(item, PublishReceipt):
            receipt = item
    kind = "HATS" if receipt.is_hats else "plain Parquet"
    say(f"publish: {receipt.num_rows} rows in {receipt.num_partitions} partitions ({kind}) at {receipt.place}")


def run_steps(run: Run, steps: Sequence[str]) -> None:
    """Run the named steps in order."""
    with run.directory.working(steps):
        for name in steps:
            if name == "ingest" and "train" in steps and not run.job.score.ensemble:
                # Before hours of ingest, not after.
                spec = run.job.images.spec(survey=run.job.targets.survey)
                check_start(run.job.train, targets=run.targets, spec=spec, seed=run.job.job.seed)
            _run_step(run, name)


def _run_step(run: Run, name: str) -> None:
    run.directory.heartbeat.update(step=name, progress=None)
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
    "report": write_report,
}


def _removed(selection: dict[str, Any]) -> str:
    cuts = [cut for cut in selection["removed"] if cut["num_removed"]]
    total = sum(cut["num_removed"] for cut in cuts)
    why = ", ".join(f"{cut['num_removed']} by '{cut['cut']}'" for cut in cuts)
    return f"{total} removed{f' ({why})' if why else ''}"
