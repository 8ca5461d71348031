"""The score step: what it would do, and doing it, with an eye on whether it goes well."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

import skymetal
from skymetal.catalogs.errors import InputError
from skymetal.catalogs.inputs import claim_inputs, digest_inputs
from skymetal.catalogs.parts import PARTS_FORMAT, RECEIPTS
from skymetal.deploy import run_directory as names
from skymetal.deploy.console import say
from skymetal.deploy.predictor import make_predictor, refuse_unfit
from skymetal.deploy.quarantine import write_quarantine
from skymetal.deploy.run import Run
from skymetal.engine.attempts import forget_all_attempts
from skymetal.engine.monitor import (
    PartSummary,
    describe_progress,
    is_shift,
    measure_accuracy,
    measure_drift,
    reason_to_stop,
    to_json,
)
from skymetal.engine.predict import PredictorRef
from skymetal.engine.reference import Reference
from skymetal.engine.score import ScoredPart, finish_score
from skymetal.engine.score import score as score_store
from skymetal.engine.score_plan import ScorePlan, refuse_other_store
from skymetal.engine.store import CutoutStore
from skymetal.train.card import describe_ensemble
from skymetal.train.evaluation.evaluate import TRUTH

MONITOR = "score.json"


def make_score_plan(run: Run) -> ScorePlan:
    """Settle what score would do; nothing is recorded, and a worker that is not made for it is not refused yet.

    Raises InputError, before anything starts, for an ensemble of other images or a store of other targets.
    """
    card = describe_ensemble(run.ensemble)
    if not card.labels[0].startswith("oh_"):
        raise InputError(
            f"the ensemble in {run.ensemble} predicts {card.labels[0]} first, but a catalogue is of 12+log(O/H): "
            "train with a label such as oh_p50 in the first place"
        )
    targets, store = run.targets, run.store
    refuse_other_store(store, targets, card.image_spec, ensemble=str(run.ensemble))
    predictor = make_predictor(run, card)  # last: to ask the workers may take long
    return ScorePlan(
        store=store,
        targets=targets,
        parts=run.directory.folder / names.PARTS,
        predictor=predictor,
        reference=card.reference,
        run_digest=digest_inputs(_inputs(predictor, store)),
        block_timeout_s=60 * run.job.score.block_timeout_min,
        truths=tuple(name for name in (TRUTH, card.labels[0]) if _is_number(targets.schema, name)),
    )


def _inputs(predictor: PredictorRef, store: CutoutStore) -> dict[str, Any]:
    """Return all that the parts depend on."""
    return {
        "ensemble": predictor.digest,
        "store": store.digest,
        "views": predictor.num_views,
        "batch_size": predictor.batch_size,
        "runtime": predictor.runtime,
        "embeddings": predictor.embeddings,
        "skymetal": skymetal.__version__,
        "parts_format": PARTS_FORMAT,
    }


def _is_number(schema: pa.Schema, name: str) -> bool:
    if name not in schema.names:
        return False
    kind = schema.field(name).type
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def claim_score(run: Run) -> ScorePlan:
    """Settle what score does, and record it; refuse an ensemble, store or setting other than those it began with."""
    plan = make_score_plan(run)
    has_results = bool(plan.parts.names(RECEIPTS))
    claim_inputs(run.directory.folder, "score", _inputs(plan.predictor, plan.store), has_results=has_results)
    return plan


def score(run: Run) -> None:
    """Cutout store to parts: one distributed pass."""
    plan = claim_score(run)
    missing = plan.missing_blocks()
    if missing:
        refuse_unfit(run, plan.predictor)
        forget_all_attempts(plan.parts)  # of an earlier command: that it was stopped says nothing about a galaxy
        _score(run, plan, missing)
    manifest = finish_score(plan)
    write_quarantine(run)
    say(
        f"score: {run.store.num_targets} rows in = {manifest.num_rows} scored "
        f"+ {manifest.num_quarantined} quarantined, in {len(manifest.receipts)} parts"
    )
    if manifest.rejected:
        say(f"score: {len(manifest.rejected)} of them have an image but no prediction; see {names.QUARANTINE}")


@dataclass(kw_only=True)
class _Progress:
    """What has come so far: the parts summed up, and for each worker its galaxies and seconds."""

    reference: Reference
    summary: PartSummary | None = None
    speeds: dict[str, tuple[float, float]] = field(default_factory=dict)

    def add(self, part: ScoredPart) -> None:
        if part.summary is not None:
            self.summary = part.summary if self.summary is None else self.summary + part.summary
            number, seconds = self.speeds.get(part.worker, (0.0, 0.0))
            self.speeds[part.worker] = number + _num_galaxies(part), seconds + part.seconds

    def rates(self) -> dict[str, float]:
        """Return galaxies a second of each worker."""
        return {worker: number / seconds for worker, (number, seconds) in self.speeds.items() if seconds}

    def describe(self) -> str:
        """Return what stands beside the progress bar."""
        rates = self.rates().values()
        if self.summary is None or not rates:
            return ""
        low, high = f"{min(rates):.3g}", f"{max(rates):.3g}"
        words = f"{len(rates)} workers, {low if low == high else f'{low} to {high}'} galaxies a second each"
        return "; ".join(filter(None, [describe_progress(self.summary, self.reference), words]))


def _score(run: Run, plan: ScorePlan, missing: list[int]) -> None:
    """Score what is missing. Raises RuntimeError where what comes is far from what is known: the rest is not scored."""
    total = sum(stop - start for start, stop in map(plan.store.layout.rows, missing))
    progress, ratio = _Progress(reference=plan.reference), run.job.score.stop_rmse_ratio

    def note(_: ScoredPart) -> str:
        return progress.describe()

    parts = score_store(plan, run.client())
    try:
        for part in run.directory.track(
            parts, title="score", total=total, unit="galaxies", amount=_num_galaxies, note=note
        ):
            progress.add(part)
            if progress.summary is None:
                continue
            reason = reason_to_stop(progress.summary, plan.reference, stop_rmse_ratio=ratio)
            if reason:
                number = progress.summary.num_rows
                raise RuntimeError(f"score is stopped after {number} galaxies: {reason}. What is done is kept")
    finally:
        if progress.summary is not None:
            _tell(run, progress.summary, progress)


def _num_galaxies(part: ScoredPart) -> int:
    return part.receipt.num_rows + part.receipt.num_quarantined


def _tell(run: Run, summary: PartSummary, progress: _Progress) -> None:
    """Say and record how the pass went; of those galaxies that this command scored."""
    numbers = to_json(summary, progress.reference)
    run.directory.folder.write(MONITOR, json.dumps(numbers, sort_keys=True, indent=1).encode())
    rates = {worker: round(rate, 3) for worker, rate in progress.rates().items()}
    run.directory.record("score", "scored", galaxies_per_second=rates, **numbers)
    accuracy = measure_accuracy(summary)
    if accuracy is not None:
        say(
            f"score: of {accuracy.num_known} galaxies with known metallicity: RMSE {accuracy.rmse:.4f} dex, "
            f"NMAD {accuracy.nmad:.3f}, median bias {accuracy.bias:+.3f}, {100 * accuracy.coverage_68:.1f} % "
            f"in the 68 % interval, {100 * accuracy.coverage_95:.1f} % in the 95 % interval"
        )
    for drift in measure_drift(summary, progress.reference):
        if is_shift(drift):
            say(
                f"score: {drift.name} is distributed otherwise than among the galaxies the ensemble learnt from "
                f"(PSI {drift.psi:.2f}, KS {drift.ks:.2f})"
            )
