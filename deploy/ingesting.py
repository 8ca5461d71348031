"""The step ingest: images to cutout store."""

from __future__ import annotations

from dataclasses import asdict

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.inputs import claim_inputs
from skymetal.deploy import run_directory as names
from skymetal.deploy.console import say
from skymetal.deploy.quarantine import write_quarantine
from skymetal.deploy.run import Run
from skymetal.engine.ingest import IngestPlan, make_ingest_plan
from skymetal.engine.ingest import ingest as ingest_targets
from skymetal.engine.store import STORE, create_store
from skymetal.engine.summary import count_galaxies


def claim_ingest(run: Run) -> IngestPlan:
    """Settle what ingest would do; refuse a source that cannot serve, or another than it began with."""
    plan = make_ingest_plan(run.job.images, targets=run.targets, run_dir=run.directory.folder, seed=run.job.job.seed)
    plan.check()
    inputs = asdict(run.job.images) | {"targets": plan.targets.digest, "seed": run.job.job.seed}
    inputs["shard_size"] = plan.store.layout.shard_size  # where it was left out, the one that it was fitted to
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
