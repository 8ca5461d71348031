"""evaluate: a run's catalogue beside what was measured, as numbers, figures and a gallery."""

from __future__ import annotations

import json

import pyarrow as pa

from skymetal.catalogs.catalog import open_catalog
from skymetal.catalogs.errors import InputError, missing_column
from skymetal.deploy import run_directory as names
from skymetal.deploy.console import say
from skymetal.deploy.run import Run
from skymetal.engine.lookup import read_cutouts
from skymetal.train.evaluate import compare, compare_with_truth, format_comparisons
from skymetal.train.figures import draw_evaluation
from skymetal.train.gallery import choose_ranks, draw_gallery


def evaluate(run: Run) -> None:
    """Catalogue against the labels it was trained on (out of fold) and, in a simulation, against the truth."""
    catalogue = open_catalog(run.path).to_arrow(["object_id", "oh_p16", "oh_p50", "oh_p84", "is_out_of_fold"])
    _draw_gallery(run, catalogue)
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
    folder.write(names.EVALUATION, json.dumps(numbers, sort_keys=True, indent=1, allow_nan=False).encode())
    say(f"evaluate: numbers in {run.path / names.EVALUATION}, figures in {run.path / names.FIGURES}")


def _draw_gallery(run: Run, catalogue: pa.Table) -> None:
    ordered = catalogue.sort_by([("oh_p50", "ascending"), ("object_id", "ascending")])
    chosen = ordered.take(pa.array(choose_ranks(ordered.num_rows)))
    images_NHWC = read_cutouts(run.store, run.targets, chosen["object_id"].to_numpy())
    captions = [f"{r['oh_p50']:.2f} ± {(r['oh_p84'] - r['oh_p16']) / 2:.2f}" for r in chosen.to_pylist()]
    title = "predicted 12 + log(O/H), from the lowest to the highest"
    run.directory.folder.write(f"{names.FIGURES}/gallery.png", draw_gallery(images_NHWC, captions, title=title))


def evaluate_table(table: pa.Table, *, truth: str, prediction: str, name: str) -> str:
    """Return the field's numbers for two columns of any table, as lines of text."""
    for column in (truth, prediction):
        if column not in table.column_names:
            raise missing_column(f"table {name}", column, table.column_names)
        kind = table[column].type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            raise InputError(f"table {name}: column {column!r} is of type {kind}, not a number; name another column")
    return format_comparisons(
        [compare("table", f"{name}: {prediction} against {truth}", table[truth], table[prediction])]
    )
