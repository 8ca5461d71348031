"""evaluate --against: a run beside the paper, or beside another run on the galaxies of both."""

from __future__ import annotations

import json
from pathlib import Path

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import open_folder
from skymetal.deploy import run_directory as names
from skymetal.deploy.config import read_job
from skymetal.deploy.evaluation.beside_paper import beside_paper
from skymetal.deploy.evaluation.of_job import read_predictions
from skymetal.deploy.evaluation.rivals import run_rival
from skymetal.deploy.run import Run
from skymetal.train.evaluation.evaluate import compare_with_truth
from skymetal.train.evaluation.rivals import Rival, judge
from skymetal.train.evaluation.wording import format_difference


def find_other_run(against: str) -> Rival:
    """Return the run that a job file or a run directory names; raise InputError where it has no catalogue."""
    run_dir = open_folder(read_job(Path(against)).job.run_dir if against.endswith(".toml") else against)
    if not run_dir.exists():
        raise InputError(f"--against {against}: {run_dir} does not exist; give 'paper', a job file or a run directory")
    return run_rival(run_dir, name="other", title=str(run_dir))


def compare_runs(run: Run, other: Rival) -> str:
    """Return a paired comparison of the run with the other for each of its comparisons."""
    targets = run.targets.read(0, run.targets.num_rows)
    lines = []
    for comparison in compare_with_truth(read_predictions(run), targets, label=run.job.train.labels[0]):
        duel = judge(
            other,
            object_id_N=comparison.rows["object_id"].to_numpy(),
            truth_N=comparison.truth_N,
            prediction_N=comparison.prediction_N,
        )
        if duel:
            lines += [
                f"{comparison.title}, against {other.title}: {duel.metrics.num_galaxies} galaxies that both predict",
                f"  RMSE {duel.metrics.rmse:.4f}, NMAD {duel.metrics.nmad:.4f} there; "
                f"{format_difference(duel.difference, other='that')}",
            ]
    if not lines:
        raise InputError(f"{run.folder} and {other.title} have no three galaxies with a truth in common")
    return "\n".join(lines)


def run_beside_paper(run: Run) -> str:
    """Return the published numbers beside those of the run's evaluation, which must have been made."""
    if not run.directory.folder.exists(names.EVALUATION):
        return "evaluate: there are no numbers to set beside the paper's"
    comparisons = json.loads(run.directory.folder.read(names.EVALUATION))
    return beside_paper(comparisons, size_pix=run.store.image_spec.size_pix)
