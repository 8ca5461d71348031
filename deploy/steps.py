"""The steps of a job, in order. Each one resumes what was begun, and does nothing where all is done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib import import_module

from skymetal.deploy.run import Run

STEPS = {
    "select": "skymetal.deploy.selecting",
    "ingest": "skymetal.deploy.ingesting",
    "train": "skymetal.deploy.training",
    "score": "skymetal.deploy.scoring",
    "publish": "skymetal.deploy.publishing",
    "evaluate": "skymetal.deploy.evaluation.of_job",
    "report": "skymetal.deploy.report.report",
}
"""The module of each step, with a function of its name; loaded when its turn comes, since torch takes seconds."""


def run_steps(run: Run, steps: Sequence[str]) -> None:
    """Run the named steps in order."""
    with run.directory.working(steps):
        for name in steps:
            if name == "ingest" and "train" in steps:
                import_module(STEPS["train"]).check_training(run)
            _run_step(run, name)


def _run_step(run: Run, name: str) -> None:
    run.directory.heartbeat.update(step=name, progress=None)
    run.directory.record(name, "began")
    start = time.monotonic()
    getattr(import_module(STEPS[name]), name)(run)
    run.directory.record(name, "ended", seconds=round(time.monotonic() - start, 3))
