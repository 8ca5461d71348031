"""The step train: a store's labelled galaxies to an ensemble."""

from __future__ import annotations

from dataclasses import asdict

from skymetal.catalogs.inputs import claim_inputs
from skymetal.deploy import run_directory as names
from skymetal.deploy.console import say
from skymetal.deploy.run import Run
from skymetal.engine.store import STORE
from skymetal.train.assemble import write_ensemble
from skymetal.train.card import ensemble_is_whole
from skymetal.train.fit import EpochReport
from skymetal.train.plan import TrainPlan, check_start, make_plan
from skymetal.train.ranks.run import train_folds
from skymetal.train.transfer import check_transfer


def check_training(run: Run) -> None:
    """Raise InputError where train could not begin, whatever the store will hold: before hours of ingest, not after."""
    if not run.job.score.ensemble:
        spec = run.job.images.spec(survey=run.job.targets.survey)
        check_start(run.job.train, targets=run.targets, spec=spec, seed=run.job.job.seed)


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
