"""evaluate: a run's catalogue beside what was measured, as numbers, figures and a gallery."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pyarrow as pa

import skymetal
from skymetal.catalogs.catalog import open_catalog
from skymetal.catalogs.schema import PERCENTILES, UNSHRUNK
from skymetal.deploy import run_directory as names
from skymetal.deploy.console import say
from skymetal.deploy.evaluation.files import NUMBERS_CSV, write_figures, write_numbers
from skymetal.deploy.evaluation.rivals import gather_rivals
from skymetal.deploy.kept import keep, recall
from skymetal.deploy.run import Run
from skymetal.engine.lookup import read_cutouts
from skymetal.train.card import describe_ensemble
from skymetal.train.evaluation.evaluate import FOREST, R_BAND, compare_with_truth, judge_comparison
from skymetal.train.evaluation.gallery import choose_ranks, draw_gallery
from skymetal.train.evaluation.wording import format_judgement

STEP = "evaluate"
PANELS = (R_BAND, FOREST)
"""The rivals of the paper's Figure 1, from left to right; the ensemble's own panel is the last."""


def evaluate(run: Run) -> None:
    """Catalogue against the labels it was trained on (out of fold) and, in a simulation, against the truth."""
    inputs = _inputs(run)
    said = recall(run.directory.folder, STEP, inputs)
    if said is None:
        said, files = _judge(run)
        keep(run.directory.folder, STEP, inputs, said=said, files=files)
    for line in said:
        say(line)


def read_predictions(run: Run) -> pa.Table:
    """Return what an evaluation needs of the run's catalogue; raise InputError where it is not published."""
    return open_catalog(run.folder).to_arrow(["object_id", *PERCENTILES, "is_out_of_fold", UNSHRUNK])


def _inputs(run: Run) -> dict[str, Any]:
    """Return all that an evaluation depends on."""
    settings = run.job.evaluate
    return {
        "catalogue": open_catalog(run.folder).version,
        "targets": run.targets.digest,
        "ensemble": describe_ensemble(run.ensemble).digest,
        "views": run.job.score.views,
        "seed": run.job.job.seed,
        "label": run.job.train.labels[0],
        "r_band": open_catalog(settings.r_band_run).version if settings.r_band_run else "",
        "grey_control": settings.grey_control,
        "scikit-learn": find_spec("sklearn") is not None,
        "skymetal": skymetal.__version__,
    }


def _judge(run: Run) -> tuple[list[str], list[str]]:
    """Measure and draw; return lines for the user and the names of the files."""
    catalogue = read_predictions(run)
    files = [_draw_gallery(run, catalogue)]
    targets = run.targets.read(0, run.targets.num_rows)
    comparisons = compare_with_truth(catalogue, targets, label=run.job.train.labels[0])
    if not comparisons:
        return ["evaluate: the target list has no measured metallicity to compare with"], files
    rivals, left_out = gather_rivals(run, catalogue, targets, comparisons)
    judgements = [judge_comparison(comparison, rivals) for comparison in comparisons]
    for judgement in judgements:
        panels = [rival for name in PANELS for rival in rivals if rival.name == name]
        figures = write_figures(run.directory.folder / names.FIGURES, judgement, panels, own_title="colour images")
        files += [f"{names.FIGURES}/{name}" for name in figures]
    write_numbers(run.directory.folder, [judgement.to_json() for judgement in judgements])
    where = f"numbers in {run.folder}/{names.EVALUATION} and {NUMBERS_CSV}, figures in {run.folder}/{names.FIGURES}"
    said = [*map(format_judgement, judgements), *(f"evaluate: {line}" for line in left_out), f"evaluate: {where}"]
    return said, [*files, names.EVALUATION, NUMBERS_CSV]


def _draw_gallery(run: Run, catalogue: pa.Table) -> str:
    ordered = catalogue.sort_by([("oh_p50", "ascending"), ("object_id", "ascending")])
    chosen = ordered.take(pa.array(choose_ranks(ordered.num_rows)))
    images_NHWC = read_cutouts(run.store, run.targets, chosen["object_id"].to_numpy())
    captions = [f"{r['oh_p50']:.2f} ± {(r['oh_p84'] - r['oh_p16']) / 2:.2f}" for r in chosen.to_pylist()]
    title = "predicted 12 + log(O/H), from the lowest to the highest"
    name = f"{names.FIGURES}/gallery.png"
    run.directory.folder.write(name, draw_gallery(images_NHWC, captions, title=title))
    return name
