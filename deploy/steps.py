"""The steps of a job, in order. Each one resumes what was begun, and does nothing where all is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
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
"""The module of each step, with a function of its name. Only what is asked for is loaded: torch takes seconds."""


def run_steps(run: Run, steps: Sequence[str]) -> None:
    """Run the named steps in order."""
    # All before the first begins: what is not installed as it should be is not to be found out after hours.
    modules = {name: import_module(STEPS[name]) for name in steps}
    with run.directory.working(steps):
        for name in steps:
            if name == "ingest" and "train" in modules:
                modules["train"].check_training(run)
            _run_step(run, name, getattr(modules[name], name))


def _run_step(run: Run, name: str, function: Callable[[Run], None]) -> None:
    run.directory.heartbeat.update(step=name, progress=None)
    run.directory.record(name, "began")
    start = time.monotonic()
    function(run)
    run.directory.record(name, "ended", seconds=round(time.monotonic() - start, 3))
