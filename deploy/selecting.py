"""The step select: survey tables to target list."""

from __future__ import annotations

from typing import Any

from skymetal.catalogs.selection.select import num_tables
from skymetal.catalogs.selection.select import select as select_targets
from skymetal.deploy import run_directory as names
from skymetal.deploy.console import say
from skymetal.deploy.run import Run


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


def _removed(selection: dict[str, Any]) -> str:
    cuts = [cut for cut in selection["removed"] if cut["num_removed"]]
    total = sum(cut["num_removed"] for cut in cuts)
    why = ", ".join(f"{cut['num_removed']} by '{cut['cut']}'" for cut in cuts)
    return f"{total} removed{f' ({why})' if why else ''}"
