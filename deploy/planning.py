"""plan: what a job would take, before it takes it."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import psutil

from skymetal.catalogs.errors import InputError
from skymetal.deploy.run import Run
from skymetal.engine.images import SERVICES
from skymetal.engine.ingest import make_ingest_plan


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Lines for a person, and the sentence that says why it cannot be done, if it cannot."""

    lines: dict[str, str]
    obstacle: str = ""


def forecast_ingest(run: Run) -> Forecast:
    """Say what ingest would do: shards, memory, disk, requests. Raises InputError where it could not even begin."""
    images = run.job.images
    plan = make_ingest_plan(images, targets=run.targets, run_dir=run.directory.folder, seed=run.job.job.seed)
    try:
        plan.check()
        obstacle = ""
    except InputError as error:
        obstacle = str(error)
    layout, missing = plan.store.layout, plan.missing_blocks()
    num_galaxies = sum(stop - start for start, stop in map(layout.rows, missing))
    num_tasks = _num_tasks_at_once(run)
    memory = num_tasks * plan.worker_bytes
    available = psutil.virtual_memory().total
    lines = {
        "galaxies": f"{num_galaxies} of {plan.store.num_targets} are yet to be ingested",
        "shards": f"{len(missing)} of {plan.store.num_blocks} are yet to be written: {layout.shard_size} galaxies, "
        f"{_size(layout.shard_bytes)} of pixels each",
        "memory": f"at most {_size(plan.worker_bytes)} a task, {num_tasks} at once: {_size(memory)} "
        f"of the {_size(available)} here, however many galaxies there are",
        "disk": f"at most {_size(plan.store_bytes)}, and {_size(plan.free_bytes())} are free",
    }
    if images.source in SERVICES:
        minutes = num_galaxies / images.requests_per_second / 60
        wait = f"{minutes / 60:.1f} h" if minutes > 90 else f"{minutes:.1f} min"
        lines["requests"] = (
            f"{num_galaxies} at {images.requests_per_second:g} a second: {wait}, less where downloads are kept"
        )
    if not obstacle and memory > available:
        obstacle = (
            f"ingest needs {_size(memory)} of memory, {_size(available)} are here; "
            f"lower [images] shard_size (now {images.shard_size}) or [cluster] num_workers"
        )
    return Forecast(lines=lines, obstacle=obstacle)


def _num_tasks_at_once(run: Run) -> int:
    settings = run.job.cluster
    return (settings.num_workers or len(os.sched_getaffinity(0))) * settings.threads_per_worker


def _size(num_bytes: float) -> str:
    power = min(int(math.log10(max(num_bytes, 1)) // 3), 4)
    return f"{num_bytes / 1000**power:.3g} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"
