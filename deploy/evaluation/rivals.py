"""Gathering what an evaluation sets beside the ensemble: forests, stellar mass, the r band, grey images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from skymetal.catalogs.catalog import open_catalog
from skymetal.catalogs.schema import UNSHRUNK
from skymetal.catalogs.storage import Location
from skymetal.deploy.console import track
from skymetal.deploy.predictor import make_predictor, refuse_unfit
from skymetal.deploy.run import Run
from skymetal.engine.blocks import map_over_blocks
from skymetal.train.card import describe_ensemble
from skymetal.train.evaluation.evaluate import R_BAND, TRUTH, Comparison
from skymetal.train.evaluation.forest import FORESTS, forest_obstacle, grow_forest
from skymetal.train.evaluation.grey import GreyPlan, grey_rival, predict_grey
from skymetal.train.evaluation.mass import predict_from_mass
from skymetal.train.evaluation.photometry import MASS, FoldedTable, fold_table
from skymetal.train.evaluation.rivals import Rival


def gather_rivals(
    run: Run, catalogue: pa.Table, targets: pa.Table, comparisons: Sequence[Comparison]
) -> tuple[list[Rival], list[str]]:
    """Return every rival that the run's files and settings allow, and a line on each that is left out.

    Raises InputError where ``[evaluate] r_band_run`` is no run with a catalogue.
    """
    settings = run.job.evaluate
    rivals = [run_rival(settings.r_band_run, name=R_BAND, title="r band alone")] if settings.r_band_run else []
    photometric, left_out = _photometric(_fold_table(run, targets, comparisons), seed=run.job.job.seed)
    rivals += photometric
    if settings.grey_control:
        rivals.append(_predict_grey(run, targets))
    rivals.append(_rival(catalogue, UNSHRUNK, name="unshrunk", title="corrected for shrinkage"))
    return rivals, left_out


def run_rival(run_dir: Location, *, name: str, title: str) -> Rival:
    """Return another run's catalogue as a rival; raise InputError where there is none.

    Its predictions are as honest as this run's: no galaxy in a catalogue is predicted by a member that saw it.
    """
    return _rival(open_catalog(run_dir).to_arrow(["object_id", "oh_p50"]), "oh_p50", name=name, title=title)


def _rival(catalogue: pa.Table, column: str, *, name: str, title: str) -> Rival:
    oh_S = np.asarray(catalogue[column].cast(pa.float64()).to_numpy())
    return Rival(name=name, title=title, object_id_S=catalogue["object_id"].to_numpy(), oh_S=oh_S)


def _fold_table(run: Run, targets: pa.Table, comparisons: Sequence[Comparison]) -> FoldedTable:
    card = describe_ensemble(run.ensemble)
    wanted = np.concatenate([comparison.rows["object_id"].to_numpy() for comparison in comparisons])
    return fold_table(targets, card.read_out_of_fold(), label=card.labels[0], wanted=wanted)


def _photometric(table: FoldedTable, *, seed: int) -> tuple[list[Rival], list[str]]:
    rivals, left_out = [], []
    if obstacle := forest_obstacle(table):
        left_out.append(f"the random forests are left out: {obstacle}")
    else:
        rivals += [grow_forest(spec, table, seed=seed) for spec in FORESTS]
    if obstacle := table.obstacle((MASS,)):
        left_out.append(f"stellar mass is left out: {obstacle}")
    else:
        rivals.append(predict_from_mass(table))
    return rivals, left_out


def _predict_grey(run: Run, targets: pa.Table) -> Rival:
    plan = GreyPlan(
        store=run.store,
        targets=run.targets,
        predictor=make_predictor(run, describe_ensemble(run.ensemble)),
        truths=tuple(name for name in (run.job.train.labels[0], TRUTH) if name in targets.column_names),
    )
    refuse_unfit(run, plan.predictor)
    blocks: Iterator[pa.Table] = map_over_blocks(
        partial(predict_grey, plan), range(plan.store.num_blocks), run.client()
    )
    total = plan.store.num_blocks
    return grey_rival(list(track(blocks, title="grey control", total=total, unit="shards", amount=lambda _: 1)))
