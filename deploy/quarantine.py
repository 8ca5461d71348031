"""quarantine.csv: every galaxy of a run that its catalogue will not hold, with the reason."""

from __future__ import annotations

import io

import pyarrow.csv

from skymetal.catalogs.parts import read_manifest
from skymetal.deploy.run import Run
from skymetal.deploy.run_directory import PARTS, QUARANTINE
from skymetal.engine.ingest import quarantined


def write_quarantine(run: Run) -> None:
    """Write the list anew, from the store and, where score has ended, from the parts."""
    try:
        rejected = read_manifest(run.directory.folder / PARTS).rejected
    except (FileNotFoundError, RuntimeError):  # not scored yet, or score makes it again
        rejected = {}
    buffer = io.BytesIO()
    pyarrow.csv.write_csv(quarantined(run.store, rejected), buffer)
    run.directory.folder.write(QUARANTINE, buffer.getvalue())
