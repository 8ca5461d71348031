"""evaluate: a run's catalogue beside what was measured, as numbers, figures and a gallery."""

from __future__ import annotations

import pyarrow as pa

from skymetal.catalogs.catalog import open_catalog
from skymetal.catalogs.schema import PERCENTILES
from skymetal.deploy import run_directory as names
from skymetal.deploy.console import say
from skymetal.deploy.evaluation.files import NUMBERS_CSV, write_figures, write_numbers
from skymetal.deploy.evaluation.rivals import UNSHRUNK, gather_rivals
from skymetal.deploy.run import Run
from skymetal.engine.lookup import read_cutouts
from skymetal.train.evaluation.evaluate import FOREST, R_BAND, compare_with_truth, judge_comparison
from skymetal.train.evaluation.gallery import choose_ranks, draw_gallery
from skymetal.train.evaluation.wording import format_judgement

PANELS = (R_BAND, FOREST)
"""The rivals of the paper's Figure 1, from left to right; the ensemble's own panel is the last."""


def evaluate(run: Run) -> None:
    """Catalogue against the labels it was trained on (out of fold) and, in a simulation, against the truth."""
    catalogue = read_predictions(run)
    _draw_gallery(run, catalogue)
    targets = run.targets.read(0, run.targets.num_rows)
    comparisons = compare_with_truth(catalogue, targets, label=run.job.train.labels[0])
    if not comparisons:
        say("evaluate: the target list has no measured metallicity to compare with")
        return
    rivals, left_out = gather_rivals(run, catalogue, targets, comparisons)
    judgements = [judge_comparison(comparison, rivals) for comparison in comparisons]
    for judgement in judgements:
        say(format_judgement(judgement))
        panels = [rival for name in PANELS for rival in rivals if rival.name == name]
        write_figures(run.directory.folder / names.FIGURES, judgement, panels, own_title="colour images")
    for line in left_out:
        say(f"evaluate: {line}")
    write_numbers(run.directory.folder, [judgement.to_json() for judgement in judgements])
    say(f"evaluate: numbers in {run.path / names.EVALUATION} and {NUMBERS_CSV}, figures in {run.path / names.FIGURES}")


def read_predictions(run: Run) -> pa.Table:
    """Return what an evaluation needs of the run's catalogue; raise InputError where it is not published."""
    catalogue = open_catalog(run.path)
    columns = ["object_id", *PERCENTILES, "is_out_of_fold", UNSHRUNK]
    return catalogue.to_arrow([name for name in columns if name in catalogue.schema.names])


def _draw_gallery(run: Run, catalogue: pa.Table) -> None:
    ordered = catalogue.sort_by([("oh_p50", "ascending"), ("object_id", "ascending")])
    chosen = ordered.take(pa.array(choose_ranks(ordered.num_rows)))
    images_NHWC = read_cutouts(run.store, run.targets, chosen["object_id"].to_numpy())
    captions = [f"{r['oh_p50']:.2f} ± {(r['oh_p84'] - r['oh_p16']) / 2:.2f}" for r in chosen.to_pylist()]
    title = "predicted 12 + log(O/H), from the lowest to the highest"
    run.directory.folder.write(f"{names.FIGURES}/gallery.png", draw_gallery(images_NHWC, captions, title=title))
