"""The step publish: parts to catalogue."""

from __future__ import annotations

import skymetal
from skymetal.catalogs.errors import InputError
from skymetal.catalogs.parts import read_manifest
from skymetal.catalogs.publishing.build import PublishProgress
from skymetal.catalogs.publishing.publish import PublishReceipt
from skymetal.catalogs.publishing.publish import publish as publish_parts
from skymetal.catalogs.schema import catalogue_schema
from skymetal.deploy import run_directory as names
from skymetal.deploy.console import say
from skymetal.deploy.run import Run
from skymetal.deploy.scoring import make_score_plan
from skymetal.train.card import describe_ensemble


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
        progress, title="publish", total=manifest.num_rows, unit="rows", amount=_num_written
    ):
        if isinstance(item, PublishReceipt):
            receipt = item
    kind = "HATS" if receipt.is_hats else "plain Parquet"
    say(f"publish: {receipt.num_rows} rows in {receipt.num_partitions} partitions ({kind}) at {receipt.place}")


def _num_written(item: PublishProgress | PublishReceipt) -> int:
    return item.num_rows if isinstance(item, PublishProgress) else 0
